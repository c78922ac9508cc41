"""Routing: from what a policy answered to what the engine is told. Pure; touches no counter.

`draw` settles a split, `schedule` the time of the next attempt, `resolve` a batch of deliveries;
`limits` what `shape` and `warmup` say;
`explain` watches one decision, `replay` compares two policies over what the log recorded; while a
candidate is on trial, `arms` says who decides for whom and `trial` whether it must go.
Equal inputs give equal outputs in every process, whatever ``PYTHONHASHSEED`` is.
"""

from postalynk.routing.arms import arms, is_candidate, owners, policies_for, resolve_arms
from postalynk.routing.demand import Exceeded, Limits
from postalynk.routing.draw import draw
from postalynk.routing.explain import Explanation, explain
from postalynk.routing.limits import Asked, Plans, Said, Shapes, asked_of, plans, shapes
from postalynk.routing.recorded import RecordedMessage, deliveries
from postalynk.routing.replay import Replay, Replayed
from postalynk.routing.resolve import (
    FALLBACK_RETRY,
    Fault,
    Interrupted,
    Resolved,
    Resolver,
    RouteSpec,
    nonsense,
)
from postalynk.routing.schedule import Failed, due_at
from postalynk.routing.trial import Tally, verdict

__all__ = [
    "FALLBACK_RETRY",
    "Asked",
    "Exceeded",
    "Explanation",
    "Failed",
    "Fault",
    "Interrupted",
    "Limits",
    "Plans",
    "RecordedMessage",
    "Replay",
    "Replayed",
    "Resolved",
    "Resolver",
    "RouteSpec",
    "Said",
    "Shapes",
    "Tally",
    "arms",
    "asked_of",
    "deliveries",
    "draw",
    "due_at",
    "explain",
    "is_candidate",
    "nonsense",
    "owners",
    "plans",
    "policies_for",
    "resolve_arms",
    "shapes",
    "verdict",
]
