"""Replay: nothing changes against oneself, and the table does not know in what order it read."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import DEFAULT, Policies, Pools, load, load_bundle, made_of
from postalynk.routing import Limits, RecordedMessage, Replay, deliveries
from postalynk.routing.demand import backlog

POOLS = Pools(["default", "high", "majors", "canary"])
SHIPPED = load(DEFAULT)
CANDIDATE = """\
from postalynk.policy import Message, Now, Pools, Route, policy, split

@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    if msg.rcpt.domain == "broken.example":
        raise ValueError("broken")
    if msg.rcpt.site == "google":
        return Route(split({"majors": 90, "canary": 10}, by="org"), fallback=["default"])
    if msg.lane == "bulk" and now.between("22:00", "07:00"):
        return Route("default", not_before="07:00")
    return Route("high" if msg.priority == "high" else "default",
                 fallback=["default"] if msg.priority == "high" else [])
"""


def candidate() -> Policies:
    return load_bundle(made_of({"policy.py": CANDIDATE.encode()}, Path("candidate")))


def message(
    number: int, lane: str, domain: str, minute: int, known: str = ""
) -> list[RecordedMessage]:
    record = (
        f"m{number:04}", f"org_{number % 50}", "standard", lane, {"campaign": "spring"}, "",
        "a@example.com", [(f"ada@{domain}", domain, known)], 1_000, minute * 60_000_000,
    )  # fmt: skip
    return list(deliveries(record, {"hosted.example": "google"}))


RECORDS = st.lists(
    st.builds(
        message,
        st.integers(0, 400),
        st.sampled_from(["high", "normal", "bulk"]),
        st.sampled_from(["gmail.com", "hosted.example", "example.org", "broken.example"]),
        st.integers(0, 2_000),
    ).map(lambda made: made[0]),
    max_size=60,
)


@given(records=RECORDS)
def test_law_same(records: list[RecordedMessage]) -> None:
    """Law `same`: a bundle replayed against itself changes nothing."""
    replay = Replay(candidate(), candidate(), POOLS)
    replay.add(records)
    replayed = replay.result()
    assert (replayed.changed, replayed.share, replayed.changes) == (0, 0.0, [])
    assert replayed.failures_before == replayed.failures_after
    assert replayed.deliveries == len(records)


@given(records=RECORDS, cut=st.integers(0, 60), data=st.data())
def test_law_order(records: list[RecordedMessage], cut: int, data: st.DataObject) -> None:
    """Law `order`: pages and their order make no difference to the table."""
    one = Replay(SHIPPED, candidate(), POOLS)
    one.add(records)
    shuffled = data.draw(st.permutations(records))
    other = Replay(SHIPPED, candidate(), POOLS)
    other.add(shuffled[:cut])
    other.add(shuffled[cut:])
    assert one.result() == other.result()
    assert one.result().changed == sum(change.deliveries for change in one.result().changes)


def test_the_table_says_what_changes_where() -> None:
    replay = Replay(SHIPPED, candidate(), POOLS)
    noon, night = 12 * 60, 23 * 60
    for number in range(10):
        replay.add(message(number, "normal", "example.org", noon))
    replay.add(message(10, "bulk", "example.org", night))
    replay.add(message(12, "bulk", "example.org", night))
    replay.add(message(11, "normal", "broken.example", noon))
    replayed = replay.result()
    assert (replayed.deliveries, replayed.changed, replayed.failures_after) == (13, 3, 1)
    held, failed = replayed.changes
    assert (held.site, held.lane, held.what) == ("example.org", "bulk", "time")
    assert (held.before, held.after) == ("default", "default, held")
    assert (held.deliveries, held.samples, held.share) == (2, ["m0010", "m0012"], 0.153846)
    assert (failed.after, failed.what) == ("default, policy failed", "failure")


def test_limits_that_a_candidate_exceeds_are_told() -> None:
    text = """\
from postalynk.policy import Path, Route, Shape, policy

@policy.route
def route(msg, pools, now):
    return Route("canary", not_before="08:00" if msg.lane == "bulk" else None)

@policy.shape
def shape(path):
    if path.site == "broken.example":
        raise ValueError("broken")
    return Shape(rate="30/m") if path.source == "slow" else Shape()
"""
    tried = load_bundle(made_of({"policy.py": text.encode()}, Path("candidate")))
    limits = Limits({"canary": {"slow": 1, "fast": 3}, "default": {"fast": 1}}, lambda _site: 2.0)
    replay = Replay(SHIPPED, tried, POOLS, limits)
    noon = 12 * 60
    for number in range(800):
        replay.add(message(number, "normal", "example.org", noon))
    for number in range(100):
        replay.add(message(number, "bulk", "example.org", 23 * 60))
    replayed = replay.result()
    (slow, fast, *rest) = replayed.exceeded
    # 200 of 800 on the slow path of 30 a minute; 600 on the one of 120.
    assert (slow.source, slow.rate_per_s, slow.minutes, slow.worst_wait_s) == (
        "slow",
        0.5,
        6,
        340.0,
    )
    assert (fast.source, fast.worst_wait_s, rest) == ("fast", 240.0, [])
    assert (fast.pool, fast.site, fast.first_us) == ("canary", "example.org", noon * 60_000_000)
    (before,) = replayed.exceeded_before
    assert (before.pool, before.source, before.worst_wait_s) == ("default", "fast", 340.0)


@given(
    asked=st.dictionaries(st.integers(0, 50), st.integers(0, 300).map(float), max_size=20),
    per_minute=st.integers(1, 100).map(float),
)
def test_law_backlog(asked: dict[int, float], per_minute: float) -> None:
    """Law `backlog`: against a queue served minute by minute."""
    left, waits = 0.0, {}
    for minute in range(max(asked, default=0) + 1):
        left = max(0.0, left + asked.get(minute, 0.0) - per_minute)
        if left:
            waits[minute] = left
    assert backlog(asked, per_minute) == waits


def test_the_site_is_that_of_the_newest_attempt_else_the_providers_else_the_domain() -> None:
    for domain, known, site, provider in (
        ("hosted.example", "", "google", "google"),
        ("gmail.com", "google", "google", "google"),
        ("example.org", "", "example.org", ""),
    ):
        (made,) = message(1, "normal", domain, 0, known)
        assert (made.rcpt.site, made.rcpt.provider) == (site, provider)
