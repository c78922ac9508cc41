"""`Now`: the one clock a policy has. A hook that reads another cannot be replayed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from postalynk.policy.spans import parse_clock

DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Now:
    """An instant, the same one for a whole batch: ``now.between("22:00", "07:00")``, in UTC."""

    __slots__ = ("at_us",)

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us
        """Microseconds since the Unix epoch."""

    @property
    def datetime(self) -> datetime:
        """The instant as a datetime in UTC: ``now.datetime.weekday() >= 5`` at the weekend."""
        return _EPOCH + timedelta(microseconds=self.at_us)

    def between(self, start: str, end: str) -> bool:
        """Whether the clock is at or after ``start`` and before ``end``, over midnight if need be.

        ``now.between("22:00", "07:00")`` is true at 22:00 and at 06:59, false at 07:00. Raises
        ValueError for other texts than HH:MM, and for two equal ones, which could mean all or none.
        """
        begins, ends = parse_clock(start), parse_clock(end)
        if begins == ends:
            raise ValueError(f"between({start!r}, {end!r}) names no stretch of the day")
        clock_s = self.at_us // 1_000_000 % DAY_S
        if begins < ends:
            return begins <= clock_s < ends
        return clock_s >= begins or clock_s < ends

    def next_us(self, clock: str) -> int:
        """The first instant, now or later, at which the clock shows ``HH:MM``, in microseconds."""
        day_us = DAY_S * 1_000_000
        today_us = self.at_us - self.at_us % day_us + parse_clock(clock) * 1_000_000
        return today_us if today_us >= self.at_us else today_us + day_us

    def __repr__(self) -> str:
        return f"Now({self.datetime.isoformat()})"
