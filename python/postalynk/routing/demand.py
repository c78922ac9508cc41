"""Demand against limits: where a policy's decisions ask for more than a path may send, and when.

**Model.** Each decision is a delivery for (pool, site) in the minute it is due. A pool's sources
share it by weight, and each may send its path's rate. What is over in one minute waits for the next
(a fluid queue), so the backlog says how long mail would wait, and the minutes in which there is one
say when.
**Law `backlog`.** What waits after each minute is what a queue served minute by minute would hold.
**Law `order`.** The table does not depend on the order in which decisions are added.
**Not here.** Bursts within a minute, retries, what the autopilot would lower, connections.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from postalynk.policy.views import PathView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from postalynk.policy import Policies

MINUTE_S = 60


class Limits(NamedTuple):
    """What paths may send, as far as the engine and the operator say it."""

    sources: Mapping[str, Mapping[str, int]]
    """Pool → its sources with their weights."""
    rate_of: Callable[[str], float]
    """Site → most messages a second from one source; infinite for no limit."""


def shaped(policies: Policies, limits: Limits) -> Callable[[str, str], float]:
    """Source and site → the rate under a policy: its `shape` where it has one, else the limits'."""
    hook = policies.hook("shape")

    def rate_of(source: str, site: str) -> float:
        said = 0.0
        if hook is not None:
            # A domain has a dot, a known provider has none: as for recorded deliveries.
            try:
                said = hook.function(PathView(source, site, "" if "." in site else site)).per_second
            except Exception:  # noqa: BLE001  a hook that fails leaves the engine's limit (G4)
                said = 0.0
        return said or limits.rate_of(site)

    return rate_of


class Exceeded(msgspec.Struct, frozen=True):
    """One path of a pool to a site that is asked for more than it may send."""

    pool: str
    site: str
    source: str
    rate_per_s: float
    """Most messages a second on the path."""
    minutes: int
    """In which something waits."""
    first_us: int
    """The first of them, in microseconds since the Unix epoch."""
    worst_us: int
    """The one after which most wait."""
    worst_wait_s: float
    """How long the last of them would wait."""


class Demand:
    """What one policy asks of the paths, minute by minute."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, str, int]] = Counter()

    def add(self, pool: str, site: str, minute: int, count: int = 1) -> None:
        """Deliveries that leave by ``pool`` to ``site`` in that minute since the Unix epoch."""
        self._asked[pool, site, minute] += count

    def exceeded(
        self,
        sources: Mapping[str, Mapping[str, int]],
        rate_of: Callable[[str, str], float],
    ) -> list[Exceeded]:
        """The paths over their limits, the longest wait first.

        ``sources``: pool → its sources with their weights; ``rate_of``: source and site → messages
        a second, infinite for no limit.
        """
        minutes: dict[tuple[str, str], dict[int, int]] = {}
        for (pool, site, minute), count in self._asked.items():
            minutes.setdefault((pool, site), {})[minute] = count
        found = []
        for (pool, site), asked in sorted(minutes.items()):
            members = sources.get(pool, {})
            for source, weight in sorted(members.items()):
                rate, share = rate_of(source, site), weight / sum(members.values())
                waits = backlog({at: count * share for at, count in asked.items()}, rate * MINUTE_S)
                if waits:
                    worst = max(waits, key=lambda at: (waits[at], -at))
                    found.append(
                        Exceeded(
                            pool, site, source, rate, len(waits),
                            min(waits) * MINUTE_S * 1_000_000, worst * MINUTE_S * 1_000_000,
                            round(waits[worst] / rate, 1),
                        )
                    )  # fmt: skip
        return sorted(found, key=lambda row: (-row.worst_wait_s, row.pool, row.site, row.source))


def backlog(asked: Mapping[int, float], per_minute: float) -> dict[int, float]:
    """Minute → what waits at its end, only those in which something does."""
    waits: dict[int, float] = {}
    left, last = 0.0, 0
    for minute in sorted(asked):
        # The minutes between, in which nothing new comes.
        while left > 0 and last + 1 < minute:
            last += 1
            left = max(0.0, left - per_minute)
            if left > 0:
                waits[last] = left
        left, last = max(0.0, left + asked[minute] - per_minute), minute
        if left > 1e-9:
            waits[minute] = left
    return waits
