"""Replay: what a candidate policy would have answered, beside what the baseline answers.

**Problem.** A test knows the cases its author thought of; last week's traffic knows the others.
**Model.** Both policies are asked about every recorded delivery, at the minute its message was
accepted, with the pools of today. What differs is counted by site, lane, and the two pools.
**Law `same`.** A bundle replayed against itself changes nothing.
**Law `order`.** The table does not depend on the order in which the records are read.
**Limits.** The candidate's decisions are counted per path and minute too, and held against what the
paths may send (`demand`).
**Not here.** What receivers would have replied, retries: only what the policy decides.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

import msgspec

from postalynk.policy import Now
from postalynk.routing.demand import Demand, Exceeded, Limits, shaped
from postalynk.routing.resolve import Resolver, RouteSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from postalynk.policy import Policies, Pools
    from postalynk.routing.recorded import RecordedMessage

MAX_SAMPLES = 3
_MINUTE_US = 60 * 1_000_000


class Change(msgspec.Struct, frozen=True, order=True):
    """Deliveries of one site and lane whose decision changes in the same way."""

    site: str
    lane: str
    before: str
    """The pool; with ``, held`` when the delivery waits for a time of day."""
    after: str
    what: str
    """``pool``, ``time``, ``fallback``, ``headers``, ``failure``; several are joined by ``+``."""
    deliveries: int
    share: float
    """Of all deliveries replayed, 0 to 1."""
    samples: list[str]
    """Ids of messages, the first in order."""


class Replayed(msgspec.Struct, frozen=True):
    """What a replay came to."""

    baseline: str
    candidate: str
    deliveries: int
    changed: int
    share: float
    """Changed of all, 0 to 1."""
    failures_before: int
    """Decisions for which the baseline took the fallback (G4)."""
    failures_after: int
    changes: list[Change]
    """The most frequent first."""
    exceeded: list[Exceeded]
    """Paths that the candidate asks for more than they may send, the longest wait first."""
    exceeded_before: list[Exceeded]
    """Those that the baseline does."""


class Replay:
    """Counts page after page; `result` at the end."""

    def __init__(
        self,
        baseline: Policies,
        candidate: Policies,
        pools: Pools,
        limits: Limits | None = None,
        clock_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        """``limits``: None: paths may send whatever they are asked for; ``clock_ns``: for
        `decision_us`.
        """
        self._limits = limits or Limits({}, lambda _site: inf)
        self._clock_ns = clock_ns
        self._spent_ns = [0, 0]
        self._demands = (Demand(), Demand())
        self._baseline = Resolver(baseline)
        self._candidate = Resolver(candidate)
        self._pools = pools
        self._count = 0
        self._failures = [0, 0]
        self._changes: Counter[tuple[str, str, str, str, str]] = Counter()
        self._samples: dict[tuple[str, str, str, str, str], list[str]] = {}

    def add(self, page: Iterable[RecordedMessage]) -> None:
        """Ask both policies about these deliveries."""
        minutes: dict[int, list[RecordedMessage]] = {}
        for message in page:
            minutes.setdefault(message.accepted_at_us // _MINUTE_US, []).append(message)
        for minute, messages in minutes.items():
            self._compare(messages, Now(minute * _MINUTE_US))

    def result(self) -> Replayed:
        """The table; the same for the same deliveries in whatever order."""
        changes = [
            Change(*key, count, _share(count, self._count), self._samples[key])
            for key, count in self._changes.items()
        ]
        changed = self._changes.total()
        return Replayed(
            self._baseline.policies.version,
            self._candidate.policies.version,
            self._count,
            changed,
            _share(changed, self._count),
            self._failures[0],
            self._failures[1],
            sorted(changes, key=lambda change: (-change.deliveries, change)),
            self._exceeded(1),
            self._exceeded(0),
        )

    def decision_us(self) -> tuple[float, float]:
        """Microseconds a decision of the baseline and of the candidate; no part of the table."""
        before, after = (round(ns / 1e3 / max(1, self._count), 3) for ns in self._spent_ns)
        return before, after

    def _exceeded(self, which: int) -> list[Exceeded]:
        policies = (self._baseline, self._candidate)[which].policies
        rate_of = shaped(policies, self._limits)
        return self._demands[which].exceeded(self._limits.sources, rate_of)

    def _compare(self, messages: Sequence[RecordedMessage], now: Now) -> None:
        began = self._clock_ns()
        before = self._baseline.resolve(messages, self._pools, now)
        between = self._clock_ns()
        after = self._candidate.resolve(messages, self._pools, now)
        ended = self._clock_ns()
        self._spent_ns[0] += between - began
        self._spent_ns[1] += ended - between
        sites = [message.rcpt.site for message in messages]
        for demand, resolved in zip(self._demands, (before, after), strict=True):
            for (choice, site), count in Counter(zip(resolved.choice, sites, strict=True)).items():
                pool, _, not_before_us, *_ = resolved.routes[choice]
                due_us = max(now.at_us, not_before_us)
                demand.add(pool, site, due_us // _MINUTE_US, count)
        self._count += len(messages)
        self._failures[0] += len(before.faults)
        self._failures[1] += len(after.faults)
        # Few routes per batch, so the pairs of them are few too.
        seen: dict[tuple[int, int], str] = {}
        for message, one, other in zip(messages, before.choice, after.choice, strict=True):
            what = seen.get((one, other))
            if what is None:
                what = seen[one, other] = _difference(before.routes[one], after.routes[other])
            if what:
                key = (
                    message.rcpt.site,
                    message.lane,
                    _shown(before.routes[one]),
                    _shown(after.routes[other]),
                    what,
                )
                self._changes[key] += 1
                self._sample(key, message.id)

    def _sample(self, key: tuple[str, str, str, str, str], message_id: str) -> None:
        samples = self._samples.setdefault(key, [])
        if message_id not in samples:
            # The first in order of id, not of arrival: partitions are read in any order.
            self._samples[key] = sorted([*samples, message_id])[:MAX_SAMPLES]


def _difference(before: RouteSpec, after: RouteSpec) -> str:
    """What differs for the delivery; reasons and versions are words about it, not part of it."""
    names = {0: "pool", 1: "fallback", 2: "time", 3: "headers", 5: "failure"}
    return "+".join(name for place, name in names.items() if before[place] != after[place])


def _shown(route: RouteSpec) -> str:
    return f"{route[0]}{', held' if route[2] else ''}{', policy failed' if route[5] else ''}"


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
