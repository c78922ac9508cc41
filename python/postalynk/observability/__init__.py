"""Logs and metrics: what an operator sees of the Python side.

`logs` writes ECS JSON lines to standard error; `metrics` is the catalogue of every Python-side
metric. The engine exposes its own (`Engine.metrics`); ``/metrics`` shows both, one after the
other.
"""

from postalynk.observability.logs import Logger, configure_logs, get_logger
from postalynk.observability.metrics import Metrics, QueueDepth

__all__ = ["Logger", "Metrics", "QueueDepth", "configure_logs", "get_logger"]
