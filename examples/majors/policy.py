"""Majors to tuned pools: each large mailbox provider has the pool that is tuned for it."""

from postalynk.policy import Message, Now, Pools, Route, policy

TUNED = {"google": "gmail-tuned", "outlook": "microsoft-tuned", "office365": "microsoft-tuned"}


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """By the provider behind the site, so a domain hosted at Google counts as Google.

    >>> pools = Pools.fake("default", "gmail-tuned", "microsoft-tuned")
    >>> route(Message.fake(provider="google"), pools, at("12:00")).pool
    'gmail-tuned'
    """
    pool = TUNED.get(msg.rcpt.provider)
    if pool is None:
        return Route("default")
    return Route(pool, fallback=["default"], reason=f"tuned for {msg.rcpt.provider}")
