# ruff: noqa: ARG001, INP001  (loaded by path, so no package; a hook need not read all it is given)
"""The policy shipped with Postalynk: the classic three-way choice.

Mail to a major mailbox provider takes the pool tuned for them; other mail of high priority takes
the fast pool; the rest takes the default pool. Copy this file to start your own.
"""

from postalynk.policy import Attempt, Message, Now, Pools, Retry, Route, policy

MAJORS = frozenset({"google", "outlook", "office365", "yahoo", "icloud"})

TO_MAJORS = Route("majors", fallback=["default"], reason="major mailbox provider")
TO_HIGH = Route("high", fallback=["default"], reason="high priority")
TO_DEFAULT = Route("default", reason="neither a major provider nor high priority")

# Quick at first, for greylisting; then hourly, for a receiver that is down; then rarely.
AGAIN = Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d", jitter=0.2)


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Choose by who receives and how urgent it is."""
    if msg.rcpt.provider in MAJORS:
        return TO_MAJORS
    if msg.priority == "high":
        return TO_HIGH
    return TO_DEFAULT


@policy.retry
def retry(attempt: Attempt) -> Retry:
    """Try again on one schedule, an attempt in doubt too: better twice than never."""
    return AGAIN
