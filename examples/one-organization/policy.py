"""Per-customer override: one organization has its own rules and never asks the others."""

from postalynk.policy import Attempt, Message, Now, Pools, Retry, Route, Set, policy


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Everybody else.

    >>> route(Message.fake(), Pools.fake(), at("12:00")).pool
    'default'
    """
    return Route("default")


@policy.route(org="org_42")
def their_route(msg: Message, pools: Pools, now: Now) -> Route:
    """Their contract names the pool, and their campaign is told to the receiver."""
    campaign = msg.tags.get("campaign")
    headers = [Set("X-Campaign", campaign)] if campaign else []
    return Route("high", fallback=["default"], headers=headers, reason="contract")


@policy.retry(org="org_42")
def their_retry(attempt: Attempt) -> Retry:
    """They would rather know soon that it failed."""
    return Retry("1m, 5m*3, 30m", max_age="4h")
