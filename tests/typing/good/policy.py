"""A policy that uses the whole surface; it must type-check."""

from datetime import timedelta

from postalynk.policy import (
    Add,
    Attempt,
    Message,
    Now,
    Organization,
    Pools,
    Recipient,
    Remove,
    Retry,
    Route,
    Set,
    policy,
    split,
    table,
    testing,
)

VIP = table("vip", "vip.toml")


def is_large(msg: Message) -> bool:
    return msg.size_bytes > 5_000_000


def plan(org: Organization) -> str:
    return org.plan


def is_ours(rcpt: Recipient) -> bool:
    return rcpt.domain == "example.com" or rcpt.address.endswith("@example.org")


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    if is_large(msg) and "large" in pools:
        return Route("large", fallback=["default"], reason="over 5 MB")
    if msg.lane == "bulk" and now.between("22:00", "07:00"):
        return Route("default", not_before="07:00")
    if msg.age_s > 60 and msg.attempt > 1 and "4.7.28" in msg.last_reply:
        return Route("default", not_before=now.datetime + timedelta(hours=1))
    if msg.tags.get("campaign") == "spring" or is_ours(msg.rcpt):
        return Route("default", headers=[Set("X-A", "1"), Add("X-B", "2"), Remove("X-C")])
    if msg.org.id in VIP:
        return Route(VIP[msg.org.id], fallback=[VIP.get("spare", "default")])
    return Route(split({"default": 95, "canary": 5}, by="org"))


@policy.route(org="org_42")
def vip(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("dedicated" if plan(msg.org) == "dedicated" else "default")


@policy.retry
def retry(attempt: Attempt) -> Retry:
    if attempt.code == 421 and attempt.class_ == "rate":
        return Retry("15m, 1h*3", jitter=0.5)
    if attempt.kind == "in_doubt" and attempt.delivery.priority == "high":
        return Retry("10s, 1m*5", max_age="1h")
    return Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d", jitter=0.2)


def in_a_test(hooks: testing.Hooks) -> Route:
    message = testing.Message.fake(provider="google", priority="bulk", tags={"a": "b"})
    hooks.retry(testing.Attempt.fake("421 4.7.28 Too fast", delivery=message))
    return hooks.route(message, testing.Pools.fake("a"), testing.at("23:00"))
