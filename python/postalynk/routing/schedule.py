"""When a failed delivery is tried again, or that it is not.

**Model.** The answer `Retry` names the delay after each failure; the last one repeats. Jitter is
drawn by keyed hash of (delivery, attempt), so every worker and every replay comes to the same
instant. A delivery ends ``max_age`` after its first attempt or when its message expires,
whichever is earlier: its deadline. A delay that would pass the deadline is cut to it, so the last
attempt is made there.
**Law `jitter_bounds`.** Short of the deadline, a delay lies within ``jitter`` of the schedule's
own.
**Law `monotone`.** Without jitter, a schedule that never shortens gives delays that never do.
**Law `expires_once`.** Followed to its end, a delivery that always fails expires exactly once, at
or after its deadline and never before.
**Not here.** Per-path back-off, which the engine knows; reply classes, which the policy reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from postalynk.routing.draw import number

if TYPE_CHECKING:
    from postalynk.policy import Retry

_SECOND_US = 1_000_000


class Failed(NamedTuple):
    """What the next time depends on, besides the answer; instants in microseconds."""

    key: str
    """Names the delivery."""
    attempt: int
    """The number of the attempt that failed: 1 is the first."""
    first_attempt_at_us: int
    expires_at_us: int
    """When the message expires; 0: never on its own."""


def deadline_us(failed: Failed, retry: Retry) -> int:
    """When the delivery ends, in microseconds."""
    by_age = failed.first_attempt_at_us + retry.max_age_s * _SECOND_US
    return min(by_age, failed.expires_at_us) if failed.expires_at_us else by_age


def due_at(failed: Failed, now_us: int, retry: Retry) -> int | None:
    """When to try again, in microseconds since the epoch; None: no more, the delivery expires."""
    deadline = deadline_us(failed, retry)
    if now_us >= deadline:
        return None
    delays = retry.delays_s
    delay_us = delays[min(failed.attempt, len(delays)) - 1] * _SECOND_US
    if retry.jitter:
        at = number(f"{failed.key} {failed.attempt}", "jitter") / (1 << 64)
        delay_us = round(delay_us * (1 + retry.jitter * (2 * at - 1)))
    return min(now_us + delay_us, deadline)
