"""The queue room: the interface (`protocol`) and the backend a URL names (`open_queue`)."""

from postalynk.queue.embedded import open_queue

__all__ = ["open_queue"]
