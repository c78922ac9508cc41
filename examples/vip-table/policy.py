"""VIP table: who has a pool of their own stands in a file, not in the code."""

from postalynk.policy import Message, Now, Pools, Route, policy, table

VIP = table("vip", "vip.toml")


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """A pool that is gone costs a VIP the pool, not the message.

    >>> route(Message.fake(org="org_gone"), Pools.fake(), at("12:00")).reason
    'its pool vip-9 is gone'
    """
    pool = VIP.get(msg.org.id)
    if pool is None:
        return Route("default")
    if pool not in pools:
        return Route("default", reason=f"its pool {pool} is gone")
    return Route(pool, fallback=["default"], reason="in the VIP table")
