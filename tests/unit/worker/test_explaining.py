"""Sampled explanations: as many as asked for, stored, and impure hooks are found."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import Canary, Policies, load_bundle, made_of
from postalynk.policy.testing import Message
from postalynk.routing.budget import Budget
from postalynk.worker import WorkerOptions
from postalynk.worker.commit import Fence
from postalynk.worker.explaining import MAX_READS, Sampler
from postalynk.worker.route import RouteStep
from tests.unit.worker.fakes import (
    Clock,
    FakeDelivery,
    FakeEngine,
    Journal,
    fake_parts,
    memory_queue,
)

READS = """\
from postalynk.policy import Route, policy

@policy.route
def route(msg, pools, now):
    if msg.tags.get("kind") and not pools["default"].healthy:
        return Route("high")
    return Route("default", reason="nothing said")
"""
IMPURE = """\
import itertools
from postalynk.policy import Route, policy

TURNS = itertools.cycle(("default", "high"))

@policy.route
def route(msg, pools, now):
    return Route(next(TURNS))
"""
LONG = """\
from postalynk.policy import Route, policy

@policy.route
def route(msg, pools, now):
    for number in range(500):
        msg.tags.get(str(number) * 300)
    return Route("default")
"""


def policy(text: str) -> Policies:
    return load_bundle(made_of({"policy.py": text.encode()}, Path("policy")))


@given(sizes=st.lists(st.integers(0, 700), max_size=30), one_in=st.integers(1, 1_000))
def test_law_one_in(sizes: list[int], one_in: int) -> None:
    """Law `one_in`: evenly spaced over the batches, whatever their sizes."""
    sampler, before, chosen = Sampler(one_in, frozenset()), 0, []
    for size in sizes:
        batch = [Message.fake()] * size
        chosen += [before + place for place in sampler.places(batch)]
        before += size
    assert chosen == list(range(one_in - 1, before, one_in))


def test_chosen_organizations_are_all_explained() -> None:
    batch = [Message.fake(org=f"org_{number % 3}") for number in range(9)]
    assert list(Sampler(0, frozenset({"org_1"})).places(batch)) == [1, 4, 7]
    assert list(Sampler(0, frozenset()).places(batch)) == []
    assert list(Sampler(5, frozenset({"org_1"})).places(batch)) == [1, 4, 7]


def routed(policies: Policies, count: int = 4, **options: object) -> tuple[FakeEngine, float]:
    """The engine after one batch, and how many impure decisions were counted."""
    journal = Journal()
    engine = FakeEngine(journal, Clock())
    engine.is_threaded = False
    numbers = WorkerOptions(**options)  # type: ignore[arg-type]
    parts = fake_parts(memory_queue(journal), engine, numbers, policies=policies)
    deliveries = [
        FakeDelivery({"id": f"m{number}", "tags": {"kind": "x"}}) for number in range(count)
    ]
    engine.waiting = list(deliveries)
    RouteStep(parts, Budget(1.0), Fence(10)).once()
    engine.waiting = deliveries
    counted = parts.metrics.registry.get_sample_value(
        "postalynk_policy_impure_total", {"function": "route"}
    )
    return engine, counted or 0.0


def test_the_note_says_what_was_read_and_answered() -> None:
    engine, impure = routed(policy(READS), explain_one_in=2)
    notes = [delivery.explanation for delivery in engine.waiting]
    assert [bool(note) for note in notes] == [False, True, False, True]
    note = json.loads(notes[1])
    assert [read["name"] for read in note["reads"]] == [
        "msg.tags.get('kind')", "pools['default'].healthy",
    ]  # fmt: skip
    assert (note["line"], note["source"]) == ("policy.py:6", 'return Route("high")')
    assert (note["pool"], note["is_repeatable"], impure) == ("high", True, 0)


def test_a_canary_explains_its_own_decisions() -> None:
    tried = policy(IMPURE.replace("next(TURNS)", "'high'"))
    both = policy(READS).beside(Canary(tried, 0.999999))
    engine, _ = routed(both, explain_organizations=frozenset({"org_1"}), explain_one_in=0)
    assert {json.loads(d.explanation)["version"] for d in engine.waiting} == {tried.version}


def test_an_impure_policy_is_counted_and_shown() -> None:
    engine, impure = routed(policy(IMPURE), explain_one_in=1)
    assert impure == 4
    assert not any(json.loads(d.explanation)["is_repeatable"] for d in engine.waiting)


def test_a_note_is_of_a_size() -> None:
    engine, _ = routed(policy(LONG), explain_one_in=1)
    note = engine.waiting[0].explanation
    assert len(json.loads(note)["reads"]) == MAX_READS
    assert len(note) < 64_000


@pytest.mark.parametrize("one_in", [0, 5])
def test_nothing_is_explained_that_was_not_sampled(one_in: int) -> None:
    engine, _ = routed(policy(LONG), explain_one_in=one_in)
    assert [delivery.explanation for delivery in engine.waiting] == [""] * 4
