"""The worker: consume → route → send → record → commit. Start reading in `pipeline`."""

from postalynk.worker.parts import Parts, WorkerOptions
from postalynk.worker.pipeline import Worker

__all__ = ["Parts", "Worker", "WorkerOptions"]
