"""Batches of answers become few routes; whatever a policy does, every delivery gets one."""

import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import DEFAULT, Now, PathState, Policies, Pools, Retry, load
from postalynk.routing import FALLBACK_RETRY, Resolver, asked_of, plans, shapes
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
    assert good == ("high", (), 0, (), "well", False, policies.version, "", "")
    assert bad == ("default", (), 0, (), FAULTS[how], True, policies.version, "", "")
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
        "        lane='bulk', pin='mta-1',\n"
        "        headers=[Set('X-A', '1'), Add('X-B', '2'), Remove('X-C')])\n"
    )
    policies = load(tmp_path)
    resolved = Resolver(policies).resolve([Msg(id="clock"), Msg(id="date")], POOLS, NOON)
    headers = (("set", "X-A", "1"), ("add", "X-B", "2"), ("remove", "X-C", ""))
    tomorrow_seven = (24 + 7) * 3_600 * 1_000_000
    said = (headers, "r", False, policies.version, "bulk", "mta-1")
    assert resolved.routes == [
        ("high", ("default",), tomorrow_seven, *said),
        ("high", ("default",), 24 * 3_600 * 1_000_000, *said),
    ]


def _policy(tmp_path: Path, code: str) -> Policies:
    (tmp_path / "policy.py").write_text("from postalynk.policy import *\n" + code)
    return load(tmp_path)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("Route('high', pin='mta-9')", "mta-9"),
        ("Route(split({'high': 1, 'default': 1}), pin='mta-1')", "mta-1"),
        ("Route('high', headers=[Set('X-A', '=?utf-8?q?=0A?=')])", "X-A"),
    ],
)
def test_what_only_the_worker_can_know_is_refused_for_that_delivery_alone(
    tmp_path: Path, answer: str, word: str
) -> None:
    policies = _policy(
        tmp_path,
        "@policy.route\n"
        "def route(msg, pools, now):\n"
        f"    return Route('high') if msg.id == 'well' else {answer}\n",
    )
    pools = Pools({"high": ["mta-1"], "default": ["mta-2"]})
    resolved = Resolver(policies).resolve([Msg(id="bad"), Msg(id="well")], pools, NOON)
    bad, well = (resolved.routes[number] for number in resolved.choice)
    assert (bad[0], bad[5]) == ("default", True)
    assert word in bad[4]
    assert (well[0], well[5]) == ("high", False)


def test_a_clock_time_just_past_means_now(tmp_path: Path) -> None:
    """Else a delivery held until 07:00 and asked about a moment later would wait for tomorrow."""
    policies = _policy(
        tmp_path,
        "@policy.route\n"
        "def route(msg, pools, now):\n"
        "    return Route('high', not_before='07:00')\n",
    )
    hour_us = 3_600 * 1_000_000
    for at_us, due_us in [
        (6 * hour_us, 7 * hour_us),
        (7 * hour_us + 1, 0),
        (8 * hour_us - 1, 0),
        (8 * hour_us, 31 * hour_us),
    ]:
        resolved = Resolver(policies).resolve([Msg()], POOLS, Now(at_us))
        assert resolved.routes[0][2] == due_us, at_us


def test_live_state_is_read_once_a_batch_and_only_if_asked(tmp_path: Path) -> None:
    policies = _policy(
        tmp_path,
        "@policy.route\n"
        "def route(msg, pools, now):\n"
        "    return Route('high' if msg.id == 'a' or pools['high'].healthy else 'default')\n",
    )
    reads: list[int] = []

    def paths() -> list[PathState]:
        reads.append(1)
        return [PathState("mta-1", "example.org", False, 0, 5, 10.0, 0.0)]

    resolver = Resolver(policies)
    pools = Pools({"high": ["mta-1"], "default": ["mta-2"]})
    assert resolver.resolve([Msg(id="a")], pools.at(paths), NOON).routes[0][0] == "high"
    assert reads == []
    resolved = resolver.resolve([Msg(id="b"), Msg(id="c")], pools.at(paths), NOON)
    assert [resolved.routes[number][0] for number in resolved.choice] == ["default", "default"]
    assert reads == [1]


def test_shapes_and_plans(tmp_path: Path) -> None:
    policies = _policy(
        tmp_path,
        "@policy.shape\n"
        "def shape(path):\n"
        "    if path.site == 'raise': raise ValueError('x')\n"
        "    if path.site == 'junk': return 5\n"
        "    return Shape(rate='50/s', connections=3, per_connection=7, tls='require')\n"
        "@policy.shape(org='org_42')\n"
        "def own(path):\n"
        "    return Shape(rate='1/s')\n"
        "@policy.warmup\n"
        "def warmup(source, now):\n"
        "    if source.provider == 'yahoo': raise ValueError('x')\n"
        "    if source.provider == 'icloud': return 5\n"
        "    if 'new' in source.pools:\n"
        "        return Warmup('1970-01-01', plan=[24], overflow='old')\n"
        "@policy.warmup(org='org_42')\n"
        "def never(source, now):\n"
        "    return None\n",
    )
    resolver = Resolver(policies)
    paths = [("s", "a", "google", ""), ("s", "raise", "", ""), ("s", "junk", "", ""),
             ("s", "a", "", "org_42")]  # fmt: skip
    answer = shapes(resolver, paths)
    assert [said for _, said in answer.answers] == [
        ("50/s", 3, 7, "require"), ("", 0, 0, ""), ("", 0, 0, ""), ("1/s", 0, 0, ""),
    ]  # fmt: skip
    assert [fault.hook for fault in answer.faults] == ["shape", "shape"]
    pools = Pools({"new": ["mta-9"], "old": ["mta-1"]})
    whose: list[str | None] = [None, "org_42"]
    today = plans(resolver, whose, pools, NOON, {})
    general = [plan for plan in today.plans if plan[2] == ""]
    assert ("mta-9", "google", "", 24, "old", 0.05) in general
    assert {plan[0] for plan in general} == {"mta-9"}
    assert not {"yahoo", "icloud"} & {plan[1] for plan in general}
    assert ("mta-9", "google", "org_42", None, "", 1.0) in today.plans
    assert {fault.reason.split(" ")[1] for fault in today.faults} == {"raised", "answered"}
    assert asked_of(policies, whose, pools) >= len(today.plans)
    assert plans(resolver, whose, pools, Now(86_400 * 1_000_000), {}).plans[0][2] == "org_42"


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
