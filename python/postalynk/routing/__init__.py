"""Routing: from what a policy answered to what the engine is told. Pure; touches no counter.

`draw` settles a split, `schedule` the time of the next attempt, `resolve` a batch of deliveries.
Equal inputs give equal outputs in every process, whatever ``PYTHONHASHSEED`` is.
"""

from postalynk.routing.draw import draw
from postalynk.routing.resolve import (
    FALLBACK_RETRY,
    Fault,
    Interrupted,
    Resolved,
    Resolver,
    RouteSpec,
)
from postalynk.routing.schedule import Failed, due_at

__all__ = [
    "FALLBACK_RETRY",
    "Failed",
    "Fault",
    "Interrupted",
    "Resolved",
    "Resolver",
    "RouteSpec",
    "draw",
    "due_at",
]
