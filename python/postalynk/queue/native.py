"""The one file of this room that touches the extension."""

from postalynk._engine import EmbeddedQueue, RecordBatch

__all__ = ["EmbeddedQueue", "RecordBatch"]
