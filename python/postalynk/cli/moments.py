"""Moments as people write them on a command line."""

import time
from datetime import datetime

from postalynk.errors import ControlError

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def moment_us(text: str, option: str) -> int:
    """``2h`` (ago), or an RFC 3339 time, in microseconds since the Unix epoch.

    Raises ControlError naming the option.
    """
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is not None and number.isdigit() and len(number) < 10:
        return max(0, time.time_ns() // 1_000 - int(number) * unit * 1_000_000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ControlError(
            f"{option} {text!r} is no moment", fix="write 2h, 3d or 2030-01-31T12:00:00Z"
        )
    return max(0, round(moment.timestamp() * 1_000_000))
