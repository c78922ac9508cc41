"""The three small notations of a policy: spans (``5m``), schedules (``1m, 5m*2``), clock times.

Text becomes a number where it is written, in the constructor of an answer, so a typing error is
an error with the author's line and never one in the worker. Parsed texts are remembered: a policy
uses a handful, a million times.
**Source.** The schedule notation is Haraka's ``temp_fail_intervals`` (docs/Outbound.md).
"""

import re
from functools import lru_cache

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

# A schedule longer than this is a typing error, such as a span multiplied by milliseconds.
MAX_STEPS = 1_000

_SPAN = re.compile(r"(\d{1,9})\s*([smhdw])", re.ASCII)
_STEP = re.compile(r"(\d{1,9}\s*[smhdw])\s*(?:\*\s*(\d{1,9}))?", re.ASCII)
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
