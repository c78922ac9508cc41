"""What the policy allows a path and a source reaches the engine before a batch is routed by it."""

import threading
import time
from pathlib import Path

import pytest

from postalynk.policy import Now, Policies, Pools, load
from postalynk.routing.budget import Budget
from postalynk.worker.commit import Fence
from postalynk.worker.limits import Limits, ShapeStep
from postalynk.worker.record import Record
from postalynk.worker.route import RouteStep
from tests.unit.worker.fakes import (
    Clock,
    FakeDelivery,
    FakeEngine,
    Journal,
    fake_parts,
    memory_queue,
)

DAY_US = 86_400 * 1_000_000
POOLS = Pools({"default": ["mta-1"], "spare": ["mta-2"]})
POLICY = """
from postalynk.policy import *

@policy.shape
def shape(path):
    while path.site == "loop":
        pass
    return Shape(rate="5/s")

@policy.warmup
def warmup(source, now):
    return Warmup("1970-01-01", plan=[24, 48]) if source.name == "mta-1" else None

@policy.retry
def retry(attempt):
    return Retry("10m", jitter=0, scope="path")
"""


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    (tmp_path / "policy.py").write_text(POLICY)
    return load(tmp_path)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(Journal(), Clock())
    engine.is_threaded = False
    return engine


def test_the_engine_is_told_once_and_again_when_something_changes(
    policies: Policies, engine: FakeEngine
) -> None:
    parts = fake_parts(memory_queue(Journal()), engine, policies=policies)
    limits = Limits(parts, Budget(1))
    limits.refresh(policies, POOLS, Now(0))
    assert engine.shaping == (True, ())
    assert engine.warm
    assert {plan[3] for plan in engine.warm} == {24}
    engine.warm = []
    limits.refresh(policies, POOLS, Now(DAY_US - 1))
    assert engine.warm == []
    limits.refresh(policies, POOLS, Now(DAY_US))
    assert {plan[3] for plan in engine.warm} == {48}
    limits.refresh(policies, Pools({"spare": ["mta-2"]}), Now(DAY_US))
    assert engine.warm == []


def test_a_shape_that_loops_leaves_the_engines_own_limits(
    policies: Policies, engine: FakeEngine
) -> None:
    parts = fake_parts(memory_queue(Journal()), engine, policies=policies)
    budget = Budget(0.01, floor_s=0.01)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            budget.check(time.monotonic())

    watchdog = threading.Thread(target=watch)
    watchdog.start()
    try:
        engine.asked = [("mta-1", "loop", "", "")]
        assert ShapeStep(parts, budget).once() == 1
    finally:
        done.set()
        watchdog.join()
    assert engine.shaped == {("mta-1", "loop", "", ""): ("", 0, 0, "")}
    text = parts.metrics.exposition().decode()
    assert 'postalynk_policy_errors_total{function="shape",hook="shape"' in text
    engine.asked = [("mta-1", "site", "", "")]
    assert ShapeStep(parts, Budget(1)).once() == 1
    assert engine.shaped["mta-1", "site", "", ""] == ("5/s", 0, 0, "")


def test_the_scope_path_backs_the_path_off(policies: Policies, engine: FakeEngine) -> None:
    journal = Journal()
    queue = memory_queue(journal, waits=False)
    parts = fake_parts(queue, engine, policies=policies)
    delivery = FakeDelivery({"id": "m1", "to": "a@slow.example"})
    engine.ended.append((delivery, "deferred"))
    assert Record(parts, Budget(1)).once() == 1
    assert engine.held == [("mta-1", "slow.example", engine.clock() + 600 * 1_000_000)]


def test_the_limits_are_told_before_the_batch_is_routed(
    policies: Policies, engine: FakeEngine
) -> None:
    parts = fake_parts(memory_queue(Journal()), engine, policies=policies)
    told: list[Policies] = []
    engine.waiting.append(FakeDelivery({"id": "m1"}))
    step = RouteStep(parts, Budget(1), Fence(45), lambda known, _pools, _now: told.append(known))
    assert step.once() == 1
    assert told == [policies]
