"""Time of day: bulk mail waits for the morning, at the weekend for Monday."""

from datetime import timedelta

from postalynk.policy import Message, Now, Pools, Route, policy


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Clock times are UTC.

    >>> route(Message.fake(priority="bulk"), Pools.fake(), at("23:00")).not_before
    '07:00'
    """
    if msg.priority != "bulk":
        return Route("default")
    weekday = now.datetime.weekday()
    if weekday >= 5:
        monday = now.datetime.replace(hour=7, minute=0, second=0, microsecond=0)
        return Route("default", not_before=monday + timedelta(days=7 - weekday), reason="weekend")
    if now.between("22:00", "07:00"):
        return Route("default", not_before="07:00", reason="night")
    return Route("default")
