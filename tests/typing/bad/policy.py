"""A policy with one error a function; the type checker must find every line marked so."""

from postalynk.policy import Attempt, Message, Now, Pools, Retry, Route, policy, split, table
from postalynk.policy.testing import Message as Made


@policy.route
def wrong_attribute(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a" if msg.recipient == "b" else "c")  # error: attr-defined


@policy.route  # error: type-var
def wrong_return(msg: Message, pools: Pools, now: Now) -> str:
    return "a"


@policy.route  # error: type-var
def wrong_arguments(msg: Message) -> Route:
    return Route("a")


@policy.retry  # error: type-var
def wrong_hook(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a")


@policy.retry
def wrong_unit(attempt: Attempt) -> Retry:
    return Retry(300)  # error: arg-type


@policy.route
def wrong_share(msg: Message, pools: Pools, now: Now) -> Route:
    return Route(split({"a": 0.5}))  # error: dict-item


@policy.route
def wrong_key(msg: Message, pools: Pools, now: Now) -> Route:
    return Route(split({"a": 1}, by="host"))  # error: arg-type


@policy.route
def writes(msg: Message, pools: Pools, now: Now) -> Route:
    msg.priority = "high"  # error: misc
    return Route("a")


@policy.route
def wrong_option(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a", pools=["b"])  # error: call-arg


@policy.route(org=42)  # error: call-overload, untyped-decorator
def wrong_organization(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a")


VIP = table("vip", "vip.toml")
NO_FILE = table("vip")  # error: call-arg
URGENT = Made.fake(priority="urgent")  # error: arg-type


def writes_a_table() -> None:
    VIP["org_1"] = "high"  # error: index
