"""A path and the warm-ups as the engine keeps them, on the virtual clock of a simulation.

**Model.** A path is lanes of what waits and the engine's own token bucket; it is asked what left
until an instant, and instants only go on. The ledger counts a day's messages of sources in warm-up
by the engine's rule (rust/delivery/src/warmup.rs): ``n * (hour + 1) / 24`` by the end of an hour.
**Not here.** What a source or a path is chosen for: `simulation`.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from postalynk.routing.native import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postalynk.policy.views import MessageView

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
_DAY_US = 24 * HOUR_US
LANES = ("high", "normal", "bulk")


class VirtualPath:
    """One path: what waits on it, its bucket, and what it did."""

    def __init__(self, limit: str, start_us: int) -> None:
        self.limit = limit
        self.bucket = TokenBucket(limit)
        self.start_us = start_us
        self.at_us = start_us
        self.lanes: tuple[deque[tuple[int, str]], ...] = tuple(deque() for _ in LANES)
        self.per_hour: Counter[int] = Counter()
        self.waiting: list[int] = []
        self.second = (0, 0)
        self.most_per_s = 0
        self.longest_us = 0

    @property
    def backlog(self) -> int:
        """Messages that wait."""
        return sum(map(len, self.lanes))

    def let_go(self, until_us: int) -> Iterator[tuple[int, str]]:
        """What leaves before then: (when, pool)."""
        while lane := next((lane for lane in self.lanes if lane), None):
            came_us, pool = lane[0]
            at_us = max(self.at_us, came_us)
            if at_us >= until_us:
                return
            granted_us = self.bucket.take(at_us - self.start_us, 1)
            if granted_us is not None:
                # What comes until then may be more urgent, so nobody is promised it.
                self.at_us = granted_us + self.start_us
                continue
            lane.popleft()
            self.at_us = at_us
            self._note(at_us, came_us)
            yield at_us, pool

    def _note(self, at_us: int, came_us: int) -> None:
        self.per_hour[(at_us - self.start_us) // HOUR_US] += 1
        self.longest_us = max(self.longest_us, at_us - came_us)
        second = at_us // SECOND_US
        count = self.second[1] + 1 if self.second[0] == second else 1
        self.second = (second, count)
        self.most_per_s = max(self.most_per_s, count)


class VirtualWarmth:
    """The engine's ledger of warm-ups (rust/delivery/src/warmup.rs), on the virtual clock."""

    def __init__(self) -> None:
        self.plans: dict[tuple[str, str, str], tuple[int | None, str]] = {}
        self.sent: Counter[tuple[str, str, str]] = Counter()
        self.away: Counter[tuple[str, str, str]] = Counter()
        self.day = self.hour = -1

    def turn(self, now_us: int) -> bool:
        """Whether a new day has begun."""
        if (hour := now_us // HOUR_US) != self.hour:
            self.hour = hour
            self.away.clear()
        if (day := now_us // _DAY_US) == self.day:
            return False
        self.day = day
        self.sent.clear()
        return True

    def key(self, source: str, message: MessageView) -> tuple[str, str, str]:
        """What a message by this source is counted as."""
        own = (source, message.rcpt.provider, message.org.id)
        return own if own in self.plans else (source, message.rcpt.provider, "")

    def reserve(self, key: tuple[str, str, str]) -> bool:
        """Whether one more may go this hour; it is counted then."""
        per_day, _ = self.plans.get(key, (None, ""))
        if per_day is None:
            return True
        if self.sent[key] >= -(-per_day * (self.hour % 24 + 1) // 24):
            return False
        self.sent[key] += 1
        return True

    def put_off(self, key: tuple[str, str, str]) -> int:
        """The beginning of the hour that has room for one more, in microseconds."""
        self.away[key] += 1
        per_day, place = self.plans[key][0], self.away[key] + self.sent[key]
        hour = (place - 1) * 24 // per_day if per_day else 24
        following = self.hour % 24 + 1
        return self.day * _DAY_US + min(max(hour, following), following + 24) * HOUR_US
