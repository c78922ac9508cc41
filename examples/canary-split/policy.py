"""Canary split: one organization in twenty tries the new addresses, and stays there."""

from postalynk.policy import Message, Now, Pools, Route, policy, split

ALL = Route("default")
SOME = Route(split({"default": 95, "canary": 5}, by="org"), fallback=["default"], reason="canary")


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Take the pool away and the experiment is over; urgent mail takes no part.

    >>> route(Message.fake(priority="high"), Pools.fake("default", "canary"), at("12:00")).pool
    'default'
    """
    return SOME if "canary" in pools and msg.priority != "high" else ALL
