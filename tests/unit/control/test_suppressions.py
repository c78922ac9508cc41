"""Suppression lists: durable, an organization's own, lifted with a trace, forgotten without one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.control.suppressions import MAX_ADDRESSES, Suppressions
from postalynk.errors import ControlError
from tests.fakes.queue import MemoryQueue

NOW_US = 1_795_478_400_000_000
ADDRESSES = ["ada@example.org", "bob@example.org", "cid@example.org"]


def lists(queue: MemoryQueue, now_us: int = NOW_US) -> Suppressions:
    return Suppressions(queue, lambda: now_us)


def held(found: Suppressions, org: str) -> list[str]:
    return [entry.address for entry in found.of(org) if not found.is_over(entry)]


def test_a_list_is_an_organizations_own_and_is_read_back() -> None:
    queue = MemoryQueue()
    lists(queue).add("org_a", ["Ada@Example.ORG", " bob@bücher.example "], reason="bounced")
    lists(queue).add("org_ab", ["cid@example.org"], reason="")
    again = lists(queue)
    assert held(again, "org_a") == ["ada@example.org", "bob@xn--bcher-kva.example"]
    assert [e.reason for e in again.of("org_a")] == ["bounced", "bounced"]
    assert held(again, "org_ab") == ["cid@example.org"]
    assert held(again, "org") == []


def test_it_ends_by_itself_at_its_time() -> None:
    queue = MemoryQueue()
    lists(queue).add("org_a", ["ada@example.org"], reason="", until_us=NOW_US + 5)
    assert held(lists(queue, NOW_US + 4), "org_a") == ["ada@example.org"]
    assert held(lists(queue, NOW_US + 5), "org_a") == []


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "lift", "forget"]), st.sampled_from(ADDRESSES))
    )
)
def test_law_lifted_is_known(steps: list[tuple[str, str]]) -> None:
    queue = MemoryQueue()
    told: list[str] = []
    oracle: dict[str, tuple[int, int]] = {}
    for number, (step, address) in enumerate(steps):
        now_us = NOW_US + number
        found = lists(queue, now_us)
        found.subscribe(told.append)
        if step == "add":
            found.add("org_a", [address], reason="")
            oracle[address] = (now_us, 0)
        elif address not in oracle:
            with pytest.raises(ControlError, match="not on the list"):
                getattr(found, step)("org_a", [address])
            continue
        elif step == "lift":
            found.lift("org_a", [address])
            since_us, until_us = oracle[address]
            oracle[address] = (since_us, until_us or now_us)
        else:
            found.forget("org_a", [address])
            del oracle[address]
        assert told.pop() == "org_a"
    entries = {e.address: (e.created_at_us, e.until_us) for e in lists(queue).of("org_a")}
    assert entries == oracle


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        (["nobody"], "no address"),
        (["a@b@c.example", "ada@example.org"], "no address"),
        ([], "0 addresses"),
        ([f"r{n}@example.org" for n in range(MAX_ADDRESSES + 1)], "10001 addresses"),
    ],
)
def test_what_is_no_list_is_refused_whole(addresses: list[str], says: str) -> None:
    queue = MemoryQueue()
    with pytest.raises(ControlError, match=says):
        lists(queue).add("org_a", addresses, reason="")
    assert held(lists(queue), "org_a") == []


def test_a_reason_is_one_short_line_and_an_end_lies_ahead() -> None:
    found = lists(MemoryQueue())
    for reason in ("two\nlines", "x" * 201):
        with pytest.raises(ControlError, match="reason"):
            found.add("org_a", ADDRESSES, reason=reason)
    with pytest.raises(ControlError, match="over already"):
        found.add("org_a", ADDRESSES, reason="", until_us=NOW_US)


def test_a_reload_tells_of_lists_that_another_process_changed_or_emptied() -> None:
    queue = MemoryQueue()
    control = Control(queue, Secrets(bytes(32)))
    told: list[str] = []
    control.suppressions.subscribe(told.append)
    other = lists(queue)
    other.add("org_a", ADDRESSES, reason="")
    control.reload()
    assert told == ["org_a"]
    other.forget("org_a", ADDRESSES)
    control.reload()
    control.reload()
    assert told == ["org_a", "org_a"]


def test_a_snapshot_of_the_control_state_has_no_suppressions_in_it() -> None:
    queue = MemoryQueue()
    control = Control(queue, Secrets(bytes(32)))
    org = control.create_organization("Acme").org
    control.suppressions.add(org, ADDRESSES, reason="")
    again = Control(queue, Secrets(bytes(32)))
    assert [o.id for o in again.directory.organizations()] == [org]
    assert held(again.suppressions, org) == ADDRESSES
