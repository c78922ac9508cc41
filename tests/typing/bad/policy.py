"""A policy with one error a function; the type checker must find every line marked so."""

from postalynk.policy import (
    Attempt,
    Incoming,
    Message,
    Now,
    Path,
    Pools,
    Reject,
    Retry,
    Route,
    Shape,
    Source,
    Warmup,
    policy,
    split,
    table,
)
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


@policy.retry
def wrong_scope(attempt: Attempt) -> Retry:
    return Retry("5m", scope="site")  # error: arg-type


@policy.shape
def wrong_rate(path: Path) -> Shape:
    return Shape(rate=50)  # error: arg-type


@policy.shape
def wrong_tls(path: Path) -> Shape:
    return Shape(tls="always")  # error: arg-type


@policy.shape  # error: type-var
def wrong_shape(path: Path) -> Route:
    return Route("a")


@policy.warmup
def wrong_plan(source: Source, now: Now) -> Warmup:
    return Warmup("2026-03-01", plan=200)  # error: arg-type


@policy.warmup
def wrong_tolerance(source: Source, now: Now) -> Warmup:
    return Warmup("2026-03-01", hold_above="5%")  # error: arg-type


@policy.route
def wrong_band(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a" if pools["a"].reputation(25) == "good" else "b")  # error: arg-type


@policy.warmup  # error: type-var
def wrong_source(source: Path, now: Now) -> None:
    return None


@policy.accept
def wrong_code(msg: Incoming, now: Now) -> Reject:
    return Reject("550", "no")  # error: arg-type


@policy.accept
def no_recipient_yet(msg: Incoming, now: Now) -> Reject:
    return Reject(550, msg.rcpt.domain)  # error: attr-defined


@policy.accept  # error: type-var
def wrong_verdict(msg: Incoming, now: Now) -> bool:
    return True


@policy.route
def wrong_lane(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a", lane="fast")  # error: arg-type


@policy.route
def wrong_pool_attribute(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("a" if pools["a"].is_healthy else "b")  # error: attr-defined


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
