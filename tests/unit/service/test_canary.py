"""The watch over a canary: it goes when its events say so, and stays when they do not."""

from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.policy import Bundle, made_of
from postalynk.recorder.projection import Codec
from postalynk.service.canary import CanaryWatch
from postalynk.worker import Parts
from tests.fakes.queue import MemoryQueue
from tests.fixtures.events import NOW_US, JsonCodec, encode, event
from tests.unit.worker.fakes import FakeEngine, Journal, fake_parts

SINCE_US = NOW_US - 1_000


def bundle(pool: str) -> Bundle:
    text = (
        "from postalynk.policy import Route, policy\n"
        f"@policy.route\ndef route(m, p, n):\n    return Route('{pool}')\n"
    )
    return made_of({"policy.py": text.encode()}, Path("policy"))


KEPT, TRIED = bundle("a").version, bundle("b").version


class Story:
    """A queue of events, a control state with a canary in it, and the watch."""

    def __init__(self) -> None:
        # An append is at NOW_US by the fake's clock or later: the events below all are.
        self.queue = MemoryQueue(waits=False)
        self.control = Control(self.queue, Secrets(bytes(range(32))), clock=lambda: SINCE_US)
        self.parts: Parts = fake_parts(self.queue, FakeEngine(Journal(), lambda: NOW_US))
        self.control.deploy_policy(bundle("a"))
        self.control.deploy_policy(bundle("b"), 0.05)
        self.watch = self.new_watch()
        self.chance = Random(20261124)
        self.number = 0

    def new_watch(self) -> CanaryWatch:
        return CanaryWatch(self.queue, self.control, self.parts, cast(Codec, JsonCodec()))

    def mail(self, version: str, count: int, *, bounced: float = 0.0, failed: float = 0.0) -> None:
        for _ in range(count):
            self.number += 1
            self.queue.put(
                "email.events",
                self.number % self.queue.partitions,
                encode(
                    event(
                        self.number,
                        policy_version=version,
                        kind="bounced" if self.chance.random() < bounced else "delivered",
                        fallback=self.chance.random() < failed,
                    )
                ),
            )

    @property
    def canary(self) -> str:
        return self.control.directory.snapshot.in_force.canary


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_good_canary_stays(story: Story) -> None:
    for _ in range(30):
        story.mail(TRIED, 20, bounced=0.03)
        story.mail(KEPT, 100, bounced=0.03)
        story.watch.once()
        assert story.canary == TRIED
    candidate, elsewhere = story.watch.tallies()
    assert (candidate.attempts, elsewhere.attempts) == (600, 3_000)


@pytest.mark.parametrize("how", [{"bounced": 0.5}, {"failed": 0.3}])
def test_a_bad_canary_goes(story: Story, how: dict[str, float]) -> None:
    for _ in range(30):
        story.mail(TRIED, 20, **how)
        story.mail(KEPT, 100, bounced=0.03)
        story.watch.once()
    in_force = story.control.directory.snapshot.in_force
    assert (in_force.canary, in_force.current) == ("", KEPT)
    assert in_force.ended.startswith(f"{TRIED} taken back: {next(iter(how))}")
    assert story.parts.metrics.registry.get_sample_value("postalynk_policy_rollbacks_total") == 1
    story.watch.once()
    assert not story.watch.is_on


def test_failures_of_retry_count(story: Story) -> None:
    story.mail(KEPT, 500)
    story.mail(TRIED, 150)
    story.watch.once()
    story.parts.faults[TRIED] += 100
    story.watch.once()
    assert "failed 100 of 150" in story.control.directory.snapshot.in_force.ended


def test_a_restart_counts_the_trial_again(story: Story) -> None:
    story.mail(TRIED, 60, failed=1.0)
    story.mail(KEPT, 300)
    story.watch.once()
    watch = story.new_watch()
    watch.once()
    assert watch.tallies()[0].failed == 60
    story.mail(TRIED, 60, failed=1.0)
    watch.once()
    assert story.canary == ""


def test_only_first_attempts_of_the_trial_count(story: Story) -> None:
    others: tuple[dict[str, Any], ...] = (
        {"attempt": 2},
        {"policy_version": ""},
        {"at_us": SINCE_US - 1},
    )
    for fields in others:
        story.queue.put("email.events", 0, encode(event(1, **{"policy_version": TRIED, **fields})))
    story.watch.once()
    assert story.watch.tallies()[0].attempts == 0
