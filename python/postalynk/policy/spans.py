"""The small notations of a policy: spans, schedules, clock times, rates and plans.

``5m``; ``1m, 5m*2``; ``07:00``; ``50/s``; ``200, 1k*2``.

Text becomes a number where it is written, in the constructor of an answer, so a typing error is
an error with the author's line and never one in the worker. Parsed texts are remembered: a policy
uses a handful, a million times.
**Source.** The schedule notation is Haraka's ``temp_fail_intervals`` (docs/Outbound.md); rates are
read as the engine reads them (rust/throttle/src/rate.rs).
"""

import math
import re
from functools import lru_cache

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

# A schedule longer than this is a typing error, such as a span multiplied by milliseconds.
MAX_STEPS = 1_000

_SPAN = re.compile(r"(\d{1,9})\s*([smhdw])", re.ASCII)
_STEP = re.compile(r"(\d{1,9}\s*[smhdw])\s*(?:\*\s*(\d{1,9}))?", re.ASCII)
_RATE = re.compile(r"(\d{1,12})\s*/\s*([a-z]+)\s*(?:,\s*max_burst=\s*(\d{1,12}))?", re.ASCII)
_PERIODS_S = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60,
    "h": 3_600, "hr": 3_600, "hour": 3_600, "d": 86_400, "day": 86_400,
}  # fmt: skip
# The engine keeps the time between two messages in nanoseconds, and it must not become 0.
_MOST_PER_SECOND = 1_000_000_000
_DAY = re.compile(r"(\d{1,12})([kM]?)\s*(?:\*\s*(\d{1,4}))?", re.ASCII)
_TIMES = {"": 1, "k": 1_000, "M": 1_000_000}
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


@lru_cache(maxsize=1024)
def parse_span(text: str) -> int:
    """Seconds of a span: ``30s``, ``5m``, ``4h``, ``3d`` or ``1w``; raises ValueError."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no span of time; write 30s, 5m, 4h, 3d or 1w")
    return int(found[1]) * UNITS_S[found[2]]


@lru_cache(maxsize=1024)
def parse_schedule(text: str) -> tuple[int, ...]:
    """Delays in seconds, in order, of a schedule such as ``1m, 5m*2, 1h*3``; raises ValueError.

    ``5m*2`` is the span twice. Every delay is at least one second.
    """
    delays: list[int] = []
    for step in text.split(","):
        found = _STEP.fullmatch(step.strip())
        if found is None:
            raise ValueError(
                f"{step.strip()!r} in the schedule {text!r} is no step; write 5m, or 5m*2 for twice"
            )
        delay, times = parse_span(found[1]), int(found[2] or 1)
        if delay < 1 or times < 1:
            raise ValueError(f"{step.strip()!r} in the schedule {text!r} must be at least 1s, once")
        if len(delays) + times > MAX_STEPS:
            raise ValueError(f"the schedule {text!r} has more than {MAX_STEPS} steps")
        delays.extend([delay] * times)
    return tuple(delays)


@lru_cache(maxsize=1024)
def parse_clock(text: str) -> int:
    """Seconds after midnight of a clock time ``HH:MM``; raises ValueError."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day; write HH:MM, 00:00 to 23:59")
    return int(found[1]) * 3_600 + int(found[2]) * 60


@lru_cache(maxsize=1024)
def parse_rate(text: str) -> tuple[float, float]:
    """Messages a second, and most at once, of a rate such as ``50/s`` or ``100/h,max_burst=1``.

    ``unlimited`` is infinite in both. Raises ValueError.
    """
    if text.strip() == "unlimited":
        return math.inf, math.inf
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no rate; write 100/s, 100/h,max_burst=1 or unlimited")
    period_s = _PERIODS_S.get(found[2])
    if period_s is None:
        raise ValueError(f"{found[2]!r} in the rate {text!r} is no unit of time; use s, m, h or d")
    count, burst = int(found[1]), int(found[3] or found[1])
    if count < 1 or burst < 1 or count > _MOST_PER_SECOND * period_s:
        raise ValueError(f"the rate {text!r} must be at least 1, at most 1000000000 a second")
    return count / period_s, float(burst)


@lru_cache(maxsize=1024)
def parse_plan(text: str) -> tuple[int, ...]:
    """Messages a day, in order, of a plan such as ``200, 500, 1k*2``; raises ValueError."""
    days: list[int] = []
    for step in text.split(","):
        found = _DAY.fullmatch(step.strip())
        if found is None or int(found[3] or 1) < 1:
            raise ValueError(f"{step.strip()!r} in the plan {text!r} is no step; write 500 or 1k*2")
        if len(days) + int(found[3] or 1) > MAX_STEPS:
            raise ValueError(f"the plan {text!r} has more than {MAX_STEPS} days")
        days.extend([int(found[1]) * _TIMES[found[2]]] * int(found[3] or 1))
    return tuple(days)
