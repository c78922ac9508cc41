"""What the policy allows a path and a source reaches the engine before a batch is routed by it."""

import sys
import threading
import time
from pathlib import Path

import pytest

from postalynk.policy import Canary, Now, Policies, Pools, load, load_bundle, made_of
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


def test_a_day_that_was_held_back_is_repeated(policies: Policies, engine: FakeEngine) -> None:
    parts = fake_parts(memory_queue(Journal()), engine, policies=policies)
    engine.held_back = [("mta-1", "google", "", 1)]
    Limits(parts, Budget(1)).refresh(policies, POOLS, Now(DAY_US))
    assert engine.warm
    today = {plan[1]: plan[3] for plan in engine.warm}
    assert (today["google"], today["yahoo"]) == (24, 48)
    assert {plan[5] for plan in engine.warm} == {0.05}


TRIED = """
from postalynk.policy import *

@policy.shape
def shape(path):
    return Shape(rate="7/s")

@policy.shape(org="org_kept")
def kept(path):
    return Shape(rate="8/s")

@policy.shape(org="org_tried")
def tried(path):
    return Shape(rate="9/s")

@policy.warmup
def warmup(source, now):
    return None

@policy.warmup(org="org_tried")
def own(source, now):
    return Warmup("1970-01-01", plan=[7, 7])
"""


def test_a_canary_says_only_what_is_its_organizations_own(
    policies: Policies, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths and sources are shared by both arms: the version in force says what holds for all."""
    bundle = made_of({"policy.py": TRIED.encode()}, Path("tried"))
    both = policies.beside(Canary(load_bundle(bundle), 0.5))
    # By module: the package has a function of the same name.
    arms = sys.modules["postalynk.routing.arms"]
    monkeypatch.setattr(arms, "is_candidate", lambda _version, _share, org: org == "org_tried")
    parts = fake_parts(memory_queue(Journal()), engine, policies=both)
    Limits(parts, Budget(1)).refresh(both, POOLS, Now(0))
    assert engine.shaping == (True, ("org_tried",))
    assert engine.warm
    said = {(source, org): today for source, _, org, today, *_ in engine.warm}
    assert said == {("mta-1", ""): 24, ("mta-1", "org_tried"): 7, ("mta-2", "org_tried"): 7}
    engine.asked = [("mta-1", "site", "", ""), ("mta-1", "site", "", "org_tried")]
    assert ShapeStep(parts, Budget(1)).once() == 2
    assert [engine.shaped["mta-1", "site", "", org][0] for org in ("", "org_tried")] == [
        "5/s",
        "9/s",
    ]


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
    assert Record(parts, Budget(1), Fence(45)).once() == 1
    assert engine.backed_off == [("mta-1", "slow.example", engine.clock() + 600 * 1_000_000)]


def test_the_limits_are_told_before_the_batch_is_routed(
    policies: Policies, engine: FakeEngine
) -> None:
    parts = fake_parts(memory_queue(Journal()), engine, policies=policies)
    told: list[Policies] = []
    engine.waiting.append(FakeDelivery({"id": "m1"}))
    step = RouteStep(parts, Budget(1), Fence(45), lambda known, _pools, _now: told.append(known))
    assert step.once() == 1
    assert told == [policies]
