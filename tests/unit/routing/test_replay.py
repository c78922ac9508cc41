"""Replay: nothing changes against oneself, and the table does not know in what order it read."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import DEFAULT, Policies, Pools, load, load_bundle, made_of
from postalynk.routing import RecordedMessage, Replay, deliveries

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
        f"m{number:04}", f"org_{number % 50}", "standard", lane, {"campaign": "spring"},
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


def test_the_site_is_that_of_the_newest_attempt_else_the_providers_else_the_domain() -> None:
    for domain, known, site, provider in (
        ("hosted.example", "", "google", "google"),
        ("gmail.com", "google", "google", "google"),
        ("example.org", "", "example.org", ""),
    ):
        (made,) = message(1, "normal", domain, 0, known)
        assert (made.rcpt.site, made.rcpt.provider) == (site, provider)
