"""Retry by reply class: how long to wait depends on what the receiver said."""

from postalynk.policy import Attempt, Retry, policy

TOO_FAST = Retry("15m, 1h*3, 4h*6")
FULL = Retry("4h*6, 12h", max_age="5d")
BROKEN = Retry("30s, 2m*3, 15m*4, 1h*6")
OTHER = Retry("1m, 5m*2, 1h*3, 4h*10")


@policy.retry
def retry(attempt: Attempt) -> Retry:
    """Codes are those of RFC 3463.

    >>> retry(Attempt.fake("421 4.7.28 Too much mail")).schedule
    '15m, 1h*3, 4h*6'
    """
    if attempt.class_ == "rate" or attempt.enhanced == "4.7.28":
        return TOO_FAST
    if attempt.enhanced == "4.2.2":  # mailbox full: its owner must tidy up first
        return FULL
    if attempt.code == 0:  # the link broke; the receiver has said nothing
        return BROKEN
    return OTHER
