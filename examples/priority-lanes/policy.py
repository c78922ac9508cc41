"""Priority lanes: a pool a lane, and a one-time password is given up after a quarter of an hour."""

from postalynk.policy import Attempt, Message, Now, Pools, Retry, Route, policy

OF_LANE = {"high": "high", "normal": "default", "bulk": "bulk"}


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Urgent mail never stands behind a newsletter: not in the queue, not on an address.

    >>> route(Message.fake(priority="high"), Pools.fake(), at("12:00")).pool
    'high'
    """
    return Route(OF_LANE[msg.lane], fallback=["default"], reason=f"lane {msg.lane}")


@policy.retry
def retry(attempt: Attempt) -> Retry:
    """Nobody waits for a code after fifteen minutes."""
    if attempt.delivery.lane == "high":
        return Retry("5s, 20s, 1m*10", max_age="15m")
    return Retry("1m, 5m*2, 1h*3, 4h*10")
