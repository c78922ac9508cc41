"""Batches of answers become few routes; whatever a policy does, every delivery gets one."""

import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import DEFAULT, Now, Policies, Pools, Retry, load
from postalynk.routing import FALLBACK_RETRY, Resolver
from tests.unit.doubles import Msg, Org, Rcpt, Tried

POOLS = Pools(["default", "high", "majors", "canary"])
NOON = Now(12 * 3_600 * 1_000_000)

UNRULY = """
from postalynk.policy import *

class Rude(Exception):
    def __str__(self):
        raise ValueError

@policy.route
def route(msg, pools, now):
    match msg.id:
        case "raise": raise ValueError("seven")
        case "deep": return deep(msg)
        case "rude": raise Rude
        case "exit": raise SystemExit(1)
        case "none": return None
        case "list": return []
        case "str": return "high"
        case "unknown": return Route("nowhere")
        case "unknown fallback": return Route("high", fallback=["nowhere"])
        case "unknown share": return Route(split({"high": 1, "nowhere": 0}))
        case "invalid": return Route("")
        case "recurse": return route(msg, pools, now)
        case "attribute": return Route(getattr(msg, "recipient"))
        case "split": return Route(split({"high": 1, "canary": 1}, by=msg.tags["by"]))
    return Route("high", reason="well")

def deep(msg):
    return 1 / 0

@policy.retry
def retry(attempt):
    match attempt.kind:
        case "raise": raise KeyError("x")
        case "junk": return "1m"
    return Retry("7m")
"""
FAULTS = {
    "raise": "policy raised ValueError at policy.py:11",
    "deep": "policy raised ZeroDivisionError at policy.py:28",
    "rude": "policy raised Rude at policy.py:13",
    "exit": "policy raised SystemExit at policy.py:14",
    "none": "policy answered NoneType, not a Route, at policy.py:8",
    "list": "policy answered list, not a Route, at policy.py:8",
    "str": "policy answered str, not a Route, at policy.py:8",
    "unknown": "policy chose unknown pool 'nowhere' at policy.py:8",
    "unknown fallback": "policy chose unknown pool 'nowhere' at policy.py:8",
    "unknown share": "policy chose unknown pool 'nowhere' at policy.py:8",
    "invalid": "policy raised ValueError at policy.py:21",
    "recurse": "policy raised RecursionError at policy.py:22",
    "attribute": "policy raised AttributeError at policy.py:23",
}


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    directory = tmp_path_factory.mktemp("unruly")
    (directory / "policy.py").write_text(UNRULY)
    return load(directory)


@pytest.mark.parametrize("how", FAULTS)
def test_what_fails_takes_the_fallback_and_says_where(policies: Policies, how: str) -> None:
    resolved = Resolver(policies).resolve([Msg(id="well"), Msg(id=how)], POOLS, NOON)
    good, bad = (resolved.routes[number] for number in resolved.choice)
    assert good == ("high", (), 0, (), "well", False, policies.version)
    assert bad == ("default", (), 0, (), FAULTS[how], True, policies.version)
    (fault,) = resolved.faults
    assert (fault.hook, fault.function, fault.reason) == ("route", "route", FAULTS[how])
    assert fault.place == FAULTS[how].rpartition(" at ")[2]


@given(how=st.lists(st.sampled_from([*FAULTS, "well", "split"]), max_size=30))
def test_law_total(policies: Policies, how: list[str]) -> None:
    """Law `total`: one route per delivery, in order, to pools that exist."""
    deliveries = [Msg(id=name, tags={"by": "message"}) for name in how]
    resolved = Resolver(policies).resolve(deliveries, POOLS, NOON)
    assert len(resolved.choice) == len(how)
    assert {route[0] for route in resolved.routes} <= POOLS.names
    for name, number in zip(how, resolved.choice, strict=True):
        assert resolved.routes[number][5] is (name in FAULTS)
    assert len(resolved.faults) == sum(name in FAULTS for name in how)
    assert len(set(resolved.routes)) == len(resolved.routes)


@given(how=st.lists(st.sampled_from([*FAULTS, "well"]), max_size=20))
def test_law_contained(policies: Policies, how: list[str]) -> None:
    """Law `contained`: the rest of a batch is routed as if the failing one had not been there."""
    resolver = Resolver(policies)
    together = resolver.resolve([Msg(id=name) for name in how], POOLS, NOON)
    for name, number in zip(how, together.choice, strict=True):
        alone = resolver.resolve([Msg(id=name)], POOLS, NOON)
        assert alone.routes[alone.choice[0]] == together.routes[number]


@pytest.mark.parametrize("by", ["message", "org", "rcpt"])
def test_a_split_never_divides_what_it_goes_by(policies: Policies, by: str) -> None:
    # The message's id chooses the branch in this policy, so it stays; the other two vary.
    deliveries = [
        Msg(
            id="split",
            org=Org(f"org_{number % 10}"),
            rcpt=Rcpt(address=f"a{number % 15}@example.org"),
            tags={"by": by},
        )
        for number in range(60)
    ]
    resolved = Resolver(policies).resolve(deliveries, POOLS, NOON)
    pool_of: dict[str, set[str]] = {}
    for delivery, number in zip(deliveries, resolved.choice, strict=True):
        key = {"message": delivery.id, "org": delivery.org.id, "rcpt": delivery.rcpt.address}[by]
        pool_of.setdefault(key, set()).add(resolved.routes[number][0])
    assert all(len(pools) == 1 for pools in pool_of.values())
    assert len(resolved.routes) == (1 if by == "message" else 2)


def test_everything_a_route_says_reaches_the_engine(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(
        "from datetime import UTC, datetime\n"
        "from postalynk.policy import *\n"
        "@policy.route\n"
        "def route(msg, pools, now):\n"
        "    when = '07:00' if msg.id == 'clock' else datetime(1970, 1, 2, tzinfo=UTC)\n"
        "    return Route('high', fallback=['default'], not_before=when, reason='r',\n"
        "        headers=[Set('X-A', '1'), Add('X-B', '2'), Remove('X-C')])\n"
    )
    policies = load(tmp_path)
    resolved = Resolver(policies).resolve([Msg(id="clock"), Msg(id="date")], POOLS, NOON)
    headers = (("set", "X-A", "1"), ("add", "X-B", "2"), ("remove", "X-C", ""))
    tomorrow_seven = (24 + 7) * 3_600 * 1_000_000
    assert resolved.routes == [
        ("high", ("default",), tomorrow_seven, headers, "r", False, policies.version),
        ("high", ("default",), 24 * 3_600 * 1_000_000, headers, "r", False, policies.version),
    ]


def test_an_organizations_own_hook_is_asked(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(
        "from postalynk.policy import *\n"
        "@policy.route\ndef route(msg, pools, now):\n    return Route('default')\n"
        "@policy.route(org='org_42')\ndef vip(msg, pools, now):\n    return Route('high')\n"
    )
    deliveries = [Msg(org=Org("org_42")), Msg(org=Org("org_1")), Msg(org=Org("org_42"))]
    resolved = Resolver(load(tmp_path)).resolve(deliveries, POOLS, NOON)
    assert [resolved.routes[n][0] for n in resolved.choice] == ["high", "default", "high"]


def test_retry_answers_or_the_shipped_schedule(policies: Policies) -> None:
    resolver = Resolver(policies)
    assert resolver.retry(Tried()) == (Retry("7m"), None)
    answer, fault = resolver.retry(Tried(kind="raise"))
    assert answer == FALLBACK_RETRY == load(DEFAULT).retry.function(Tried())
    assert fault is not None
    assert (fault.hook, fault.function, fault.place) == ("retry", "retry", "policy.py:33")
    _, fault = resolver.retry(Tried(kind="junk"))
    assert fault is not None
    assert fault.reason == "policy answered str, not a Retry, at policy.py:30"


def test_the_shipped_policy_costs_little() -> None:
    """A guard against accidents, generous for a busy machine; the bar is 2.5 µs a delivery."""
    providers, priorities = ("google", "", ""), ("normal", "high")
    deliveries = [
        Msg(priority=priorities[n % 2], rcpt=Rcpt(provider=providers[n % 3])) for n in range(500)
    ]
    resolver = Resolver(load(DEFAULT))
    best_s = min(
        timeit.repeat(lambda: resolver.resolve(deliveries, POOLS, NOON), number=1, repeat=50)
    )
    assert best_s / 500 * 1e6 < 2.5
