"""What the hooks `shape` and `warmup` answer: how much may go out on a path, and on a young source.

Both are ceilings. What the engine learns of a receiver may lower them for a while, nothing raises
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Literal, TypeAlias, get_args

import msgspec

from postalynk.policy.moment import DAY_S, Now
from postalynk.policy.spans import parse_plan, parse_rate

Tls: TypeAlias = Literal["opportunistic", "require", "verify"]
"""``opportunistic``: use TLS where it is offered; ``require``: send over TLS or not at all;
``verify``: over TLS to a host whose certificate is good for its name, or not at all."""

LADDER = (
    "200, 500, 1k, 2k, 5k, 10k, 20k, 40k, 50k, 75k, 100k, 150k, 200k, 250k, 325k, 400k, 500k, 600k,"
    " 750k, 1M"
)
"""Messages a day of a new source towards one provider: SparkPost's published schedule.

``Warmup("2026-03-01", plan=LADDER)``, as when no plan is given."""

# More at once than any receiver takes; a larger number is a typing error.
MAX_CONNECTIONS = 10_000
MAX_PER_CONNECTION = 1_000_000


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one path, that is from one source to one site.

        Shape(rate="50/s", connections=20, per_connection=100)
        Shape(rate="600/m,max_burst=10", tls="require")

    ``rate``: most messages in a second, minute, hour or day (``50/s``, ``600/m``, ``10k`` is no
    number here); ``max_burst`` is how many of them may leave at once, left out all; ``unlimited``.
    ``connections``: most at a time. ``per_connection``: messages before one is closed. ``tls``:
    `Tls`. What is left out is the engine's: the operator's setting, else the provider's known
    limit, else the general one. Raises ValueError for anything else.
    """

    rate: str = ""
    connections: int = 0
    per_connection: int = 0
    tls: Tls | Literal[""] = ""

    def __post_init__(self) -> None:
        if not isinstance(self.rate, str):
            raise ValueError(f"Shape rate={self.rate!r}: a text, such as '50/s'")
        if self.rate:
            parse_rate(self.rate)
        for name, most in (
            ("connections", MAX_CONNECTIONS),
            ("per_connection", MAX_PER_CONNECTION),
        ):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"Shape {name}={value!r}: a whole number from 1 to {most}")
        if self.tls not in ("", *get_args(Tls)):
            raise ValueError(f"Shape tls={self.tls!r}: 'opportunistic', 'require' or 'verify'")

    @property
    def per_second(self) -> float:
        """The rate in messages a second: infinite for ``unlimited``, 0.0 when it is left out."""
        return parse_rate(self.rate)[0] if self.rate else 0.0


class _Start(msgspec.Struct, frozen=True):
    start: str


class Warmup(_Start, frozen=True, kw_only=True):
    """How a source that receivers do not know yet is made known, provider by provider.

        Warmup("2026-03-01")
        Warmup("2026-03-01", plan="50, 100, 250, 500, 1k, 2k*3", overflow="shared-high")

    ``start``: its first day, ``YYYY-MM-DD`` (UTC). ``plan``: messages a day towards one provider,
    from the first day on; ``k`` and ``M`` are thousands and millions, ``2k*3`` three such days.
    The source is warm after the last, and before the first day it sends nothing. A day's number is
    spread over its 24 hours. ``overflow``: the pool that takes what is over, before the route's
    fallback; other sources of the pool that are warm, or have room, come first. ``hold_above``: the
    share of a day's attempts, 0.0 to 1.0, whose replies may blame the sender (classes reputation
    and rate); after a day with more, of 20 attempts at least, its number is repeated. 1.0: the plan
    goes by the calendar alone. Raises ValueError for anything else.
    """

    plan: str | Sequence[int] = LADDER
    overflow: str = ""
    hold_above: float = 0.05

    def __post_init__(self) -> None:
        _parse_day(self.start)
        if isinstance(self.plan, str):
            parse_plan(self.plan)
        else:
            plan: object = self.plan
            steps = tuple(plan) if isinstance(plan, list | tuple) else ()
            if not steps or any(type(step) is not int or step < 0 for step in steps):
                raise ValueError(f"Warmup plan={self.plan!r}: whole numbers, one a day")
            msgspec.structs.force_setattr(self, "plan", steps)
        if not isinstance(self.overflow, str):
            raise ValueError(f"Warmup overflow={self.overflow!r}: the name of a pool")
        if type(self.hold_above) not in (int, float) or not 0 <= self.hold_above <= 1:
            raise ValueError(f"Warmup hold_above={self.hold_above!r}: a share from 0.0 to 1.0")

    @property
    def per_day(self) -> tuple[int, ...]:
        """Messages a day, from the first day on."""
        return parse_plan(self.plan) if isinstance(self.plan, str) else tuple(self.plan)

    def day(self, now: Now) -> int:
        """Days since the first one: 0 on it, less than 0 before."""
        return (now.at_us // 1_000_000 - _parse_day(self.start)) // DAY_S

    def today(self, now: Now, held: int = 0) -> int | None:
        """Messages allowed on the day of ``now`` towards one provider; None: the source is warm.

        ``held``: days that were repeated because they were unhealthy (`hold_above`).
        """
        day, plan = self.day(now), self.per_day
        if day < 0:
            return 0
        day = max(0, day - held)
        return plan[day] if day < len(plan) else None


def _parse_day(text: object) -> int:
    """Seconds of the day's midnight in UTC."""
    try:
        day = date.fromisoformat(text) if isinstance(text, str) and len(text) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError(f"Warmup start={text!r}: write the first day as YYYY-MM-DD")
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
