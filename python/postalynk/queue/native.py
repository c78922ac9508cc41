"""The one file of this room that touches the extension."""

from postalynk._engine import EmbeddedQueue, RecordBatch, topics

__all__ = ["EmbeddedQueue", "RecordBatch", "topics"]
