"""A policy that uses the whole surface; it must type-check."""

from datetime import timedelta

from postalynk.policy import (
    Accept,
    Add,
    Attempt,
    Incoming,
    Message,
    Now,
    Organization,
    Path,
    Pools,
    Recipient,
    Reject,
    Remove,
    Retry,
    Route,
    Set,
    Shape,
    Source,
    Warmup,
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


@policy.accept
def accept(msg: Incoming, now: Now) -> Accept | Reject:
    if len(msg.recipients) > 100 and msg.org.plan == "trial" and msg.channel == "smtp":
        return Reject(451, "at most 100 recipients at once", enhanced="4.5.3")
    if msg.attachments and msg.size_bytes > 5_000_000 and "example.org" in msg.domains:
        return Reject(550, f"too much for {msg.sender_domain}")
    return Accept()


@policy.accept(org="org_42")
def accept_all(msg: Incoming, now: Now) -> Accept:
    return Accept()


@policy.shape
def shape(path: Path) -> Shape:
    if path.provider == "google" or path.site == "example.org":
        return Shape(rate="50/s", connections=20, per_connection=100, tls="require")
    return Shape(tls="verify") if path.source == "mta-1" else Shape()


@policy.shape(org="org_42")
def shape_one(path: Path) -> Shape:
    return Shape(rate="unlimited")


@policy.warmup
def warmup(source: Source, now: Now) -> Warmup | None:
    if "fresh" in source.pools and source.provider == "google":
        return Warmup("2026-03-01", plan="50, 100, 1k*2", overflow="shared", hold_above=0.1)
    return Warmup("2026-03-01", plan=[50, 100]) if source.name == "mta-9" else None


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
    if pools["default"].healthy and pools["default"].is_open(msg.rcpt.site):
        return Route("default", lane="high", pin=pools["default"].sources[0])
    if sum(path.waiting for path in pools["default"].paths(msg.rcpt.site)) > 1_000:
        return Route("spare")
    if msg.template == "tmpl_welcome" and pools["default"].reputation("google") == "poor":
        return Route("spare")
    if msg.org.id in VIP:
        return Route(VIP[msg.org.id], fallback=[VIP.get("spare", "default")])
    return Route(split({"default": 95, "canary": 5}, by="org"))


@policy.route(org="org_42")
def vip(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("dedicated" if plan(msg.org) == "dedicated" else "default")


@policy.retry
def retry(attempt: Attempt) -> Retry:
    if attempt.code == 421 and attempt.class_ == "rate":
        return Retry("15m, 1h*3", jitter=0.5, scope="path")
    if attempt.kind == "in_doubt" and attempt.delivery.priority == "high":
        return Retry("10s, 1m*5", max_age="1h")
    return Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d", jitter=0.2)


def in_a_test(hooks: testing.Hooks) -> Route:
    message = testing.Message.fake(provider="google", priority="bulk", tags={"a": "b"})
    hooks.accept(testing.Incoming.fake(plan="trial"), testing.at("12:00"))
    hooks.shape(testing.Path.fake(provider="google"), org="org_42")
    hooks.warmup(testing.Source.fake("mta-9", pools=["fresh"]), testing.at("12:00"))
    day = testing.simulate("policy/", [testing.Flow(message, "50/s", orgs=9)], hours=24)
    assert max(day.path("mta-1", "google").per_hour) <= 3_600
    hooks.retry(testing.Attempt.fake("421 4.7.28 Too fast", delivery=message))
    return hooks.route(message, testing.Pools.fake("a"), testing.at("23:00"))
