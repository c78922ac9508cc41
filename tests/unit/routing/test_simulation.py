"""The simulator: limits are never passed, a warm-up spreads over its hours, nothing is lost."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.policy import Policies, Warmup, load_bundle, made_of
from postalynk.policy.spans import parse_rate
from postalynk.policy.testing import Flow, Message, Simulation, at, simulate

HEAD = "from postalynk.policy import *\n"
POLICY = (
    HEAD
    + """
@policy.route
def route(msg, pools, now):
    if msg.priority == "bulk" and now.between("22:00", "07:00"):
        return Route("shared", not_before="07:00", reason="bulk waits for the morning")
    return Route("fresh" if msg.rcpt.provider == "google" else "shared", fallback=["shared"])

@policy.shape
def shape(path):
    return Shape(rate="RATE")

@policy.warmup
def warmup(source, now):
    return Warmup("2026-01-04", plan=[PLAN], overflow="OVERFLOW") if source.name == "new" else None
"""
)
POOLS = {"fresh": {"new": 1}, "shared": {"a": 1, "b": 2}}


def policies(rate: str = "unlimited", plan: str = "10, 240", overflow: str = "") -> Policies:
    text = POLICY.replace("RATE", rate).replace("PLAN", plan).replace("OVERFLOW", overflow)
    return load_bundle(made_of({"policy.py": text.encode()}, Path("simulated")))


def run(made: Policies, *flows: Flow, hours: int = 24) -> Simulation:
    return simulate(made, flows, hours, pools=POOLS)


RATES = st.one_of(
    st.integers(1, 20).map("{}/m".format),
    st.tuples(st.integers(1, 5), st.integers(1, 9)).map(lambda r: f"{r[0]}/s,max_burst={r[1]}"),
)


@settings(max_examples=30)
@given(rate=RATES, come=st.integers(1, 3_000), lane=st.sampled_from(["high", "bulk"]))
def test_law_never_over(rate: str, come: int, lane: str) -> None:
    """Law `never_over`: no second and no hour of a path has more than its burst and its rate."""
    flow = Flow(Message.fake(priority=lane), f"{come}/h", orgs=7)  # type: ignore[arg-type]
    simulated = simulate(policies(rate), [flow], 2, start=at("12:00"), pools=POOLS)
    per_second, burst = parse_rate(rate)
    assert simulated.paths
    for path in simulated.paths:
        assert path.limit == rate
        assert path.most_per_s <= math.ceil(burst + per_second)
        assert all(sent <= burst + per_second * 3_600 for sent in path.per_hour)


@settings(max_examples=20)
@given(per_day=st.integers(0, 400), come=st.integers(1, 200))
def test_law_spread(per_day: int, come: int) -> None:
    """Law `spread`: hour by hour a source in warm-up sends no more than its share of the day."""
    flow = Flow(Message.fake(provider="google"), f"{come}/h")
    simulated = run(policies(plan=f"1, {per_day}"), flow)
    sent = 0
    for path in simulated.paths:
        if path.source == "new":
            for hour, count in enumerate(path.per_hour):
                sent += count
                assert sent <= math.ceil(per_day * (hour + 1) / 24)


@settings(max_examples=20)
@given(
    rate=RATES,
    flows=st.lists(
        st.builds(
            Flow,
            st.builds(
                Message.fake,
                provider=st.sampled_from(["", "google", "yahoo"]),
                priority=st.sampled_from(["high", "normal", "bulk"]),
            ),
            st.integers(1, 500).map("{}/h".format),
            st.integers(1, 5),
            st.sampled_from([None, ("08:00", "18:00"), ("22:00", "01:00")]),
        ),
        max_size=3,
    ),
)
def test_law_none_lost_and_law_same(rate: str, flows: list[Flow]) -> None:
    """Laws `none_lost` and `same`."""
    simulated = run(policies(rate), *flows, hours=9)
    assert simulated.arrived == simulated.sent + simulated.waiting
    assert simulated.sent == sum(sum(path.per_hour) for path in simulated.paths)
    assert simulated.sent == sum(sum(left) for left in simulated.pools.values())
    assert simulated == run(policies(rate), *flows, hours=9)
    assert simulated.failures == 0


def test_a_path_over_its_rate_makes_mail_wait() -> None:
    simulated = run(policies("100/h,max_burst=1"), Flow(Message.fake(to="a@x.example"), "300/h"))
    (path,) = simulated.paths
    assert path.per_hour == [100] * 24
    assert path.waiting[0] == 200
    assert path.longest_wait_s > 3_600
    assert simulated.waiting == 300 * 24 - 100 * 24


def test_what_a_warm_up_has_no_room_for_overflows_or_waits() -> None:
    flow = Flow(Message.fake(provider="google"), "30/h")
    simulated = run(policies(overflow="shared"), flow)
    assert simulated.path("new", "google").per_hour == [10] * 24, "240 a day on the second day"
    assert simulated.pools["shared"] == [20] * 24
    alone = (
        policies(plan="1, 24")
        .bundle.content["policy.py"]
        .replace(b'fallback=["shared"]', b"fallback=[]")
    )
    waits = run(load_bundle(made_of({"policy.py": alone}, Path("alone"))), flow)
    assert waits.path("new", "google").per_hour == [1] * 24
    assert waits.put_off > 0


def test_a_time_of_day_holds_mail_until_then() -> None:
    simulated = run(policies(), Flow(Message.fake(priority="bulk"), "60/h"))
    per_hour = simulated.pools["shared"]
    assert per_hour[:7] == [0] * 7
    assert per_hour[7] == 60 * 8
    assert per_hour[22:] == [0, 0]


def test_high_mail_goes_before_bulk_that_waits() -> None:
    bulk = Flow(Message.fake(priority="bulk", to="a@x.example"), "600/h")
    high = Flow(Message.fake(priority="high", to="b@x.example"), "10/h")
    made = policies("60/h,max_burst=1")
    simulated = simulate(made, [bulk, high], 2, start=at("12:00"), pools={"shared": {"a": 1}})
    alone = simulate(made, [bulk], 2, start=at("12:00"), pools={"shared": {"a": 1}})
    assert simulated.sent == alone.sent
    assert simulated.path("a", "x.example").waiting[1] == alone.waiting + 20


def test_an_organization_of_its_own_shape_has_its_own_path() -> None:
    text = HEAD + (
        "@policy.route\ndef r(m, p, n):\n    return Route('default')\n"
        "@policy.shape(org='org_42')\ndef s(path):\n    return Shape(rate='1/m,max_burst=1')\n"
    )
    made = load_bundle(made_of({"policy.py": text.encode()}, Path("own")))
    flows = [Flow(Message.fake(org=org), "600/h") for org in ("org_1", "org_42")]
    simulated = simulate(made, flows, hours=1)
    assert simulated.path("default", "example.org", "org_42").per_hour == [60]
    assert simulated.path("default", "example.org").per_hour == [600]


def test_a_policy_that_fails_takes_the_fallback_and_is_counted() -> None:
    text = HEAD + "@policy.route\ndef r(m, p, n):\n    return Route('gone')\n"
    made = load_bundle(made_of({"policy.py": text.encode()}, Path("fails")))
    simulated = simulate(made, [Flow(Message.fake(), "60/h")], hours=1)
    assert simulated.failures > 0
    assert simulated.pools == {"default": [60]}


@pytest.mark.parametrize(
    ("rate", "orgs", "between"),
    [("many", 1, None), ("unlimited", 1, None), ("1/s", 0, None), ("1/s", 1, ("7", "8"))],
)
def test_a_flow_that_is_none_is_refused(rate: str, orgs: int, between: object) -> None:
    with pytest.raises(ValueError, match=r"rate|orgs|time of day"):
        Flow(Message.fake(), rate, orgs, between)  # type: ignore[arg-type]


def test_a_held_day_repeats_its_number() -> None:
    plan = Warmup("2026-03-01", plan=[10, 20, 30])
    days = [at(f"2026-03-0{day} 12:00") for day in (1, 2, 3, 4)]
    assert [plan.today(day) for day in days] == [10, 20, 30, None]
    assert [plan.today(day, 1) for day in days] == [10, 10, 20, 30]
    assert plan.today(days[0], 5) == 10
    assert plan.today(at("2026-02-28 12:00"), 5) == 0
