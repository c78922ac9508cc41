"""Customers with addresses of their own; what their pool cannot take overflows to the shared one.

Who has which pool stands in a table. A dedicated pool whose addresses are all shut, or that has a
long queue towards the receiver, is passed over for mail that may leave by shared addresses; mail
that must not waits for its own.
"""

from postalynk.policy import Message, Now, Path, Pools, Route, Shape, Source, Warmup, policy, table

DEDICATED = table("dedicated", "dedicated.toml")
NEW_SOURCES = table("new_sources", "dedicated.toml")

# Ten minutes at the pool's own pace: beyond it a shared address is faster.
LONGEST_QUEUE = 6_000


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Their own pool first, the shared one when that helps and is allowed.

    >>> route(Message.fake(org="org_none"), Pools.fake("shared"), at("12:00")).pool
    'shared'
    """
    own = DEDICATED.get(msg.org.id, "")
    if own not in pools:
        return Route("shared")
    if msg.tags.get("only") == "dedicated":
        return Route(own, reason="dedicated addresses only")
    pool = pools[own]
    if not pool.healthy or not pool.is_open(msg.rcpt.site):
        return Route("shared", fallback=[own], reason="its own addresses are shut")
    if pool.waiting(msg.rcpt.site) > LONGEST_QUEUE:
        return Route("shared", fallback=[own], reason="its own queue is long")
    return Route(own, fallback=["shared"], reason="dedicated")


@policy.warmup
def warmup(source: Source, now: Now) -> Warmup | None:
    """A new dedicated address begins small; what is over leaves by the shared pool."""
    first_day = NEW_SOURCES.get(source.name)
    return Warmup(first_day, overflow="shared") if first_day else None


@policy.shape
def shape(path: Path) -> Shape:
    """A new address also opens few connections."""
    return Shape(connections=2) if path.source in NEW_SOURCES else Shape()
