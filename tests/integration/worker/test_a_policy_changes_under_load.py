"""The policy is replaced again and again while a worker routes; no message is routed by a mixture.

What runs: a worker on the embedded queue, the engine, the sink. What breaks: nothing; two versions,
freshly loaded each time, take turns under the worker. What holds: every batch is decided by one
version, every attempt names the version that chose its pool (G4), and nothing is lost (G1).
"""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from postalynk._engine import Sink
from postalynk.policy import Policies, load_bundle, made_of
from tests.support.processes import wait_for
from tests.support.workers import mail, running

MESSAGES = 3_000
POLICY = """
from postalynk.policy import *

@policy.route
def route(msg, pools, now):
    return Route("{pool}", reason="by {pool}")

@policy.shape
def shape(path):
    return Shape(connections=4)
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    started = Sink()
    yield started
    started.stop()


def version(pool: str) -> Policies:
    content = {"policy.py": POLICY.format(pool=pool).encode()}
    return load_bundle(made_of(content, Path("policy")))


def test_no_message_is_routed_by_a_mixture_of_versions(sink: Sink, tmp_path: Path) -> None:
    both = {made.version: pool for pool in ("one", "other") for made in [version(pool)]}
    pools = {"one": ["s1"], "other": ["s2"], "default": ["s1"]}
    with running(tmp_path, sink, version("one"), pools) as run:
        watched = run.watch()
        run.worker.start()
        ends = threading.Event()

        def reload() -> None:
            for pool in itertools.cycle(("other", "one")):
                if ends.wait(0.01):
                    return
                run.parts.policies = version(pool)

        reloading = threading.Thread(target=reload)
        reloading.start()
        try:
            for first in range(0, MESSAGES, 100):
                run.accept([mail(n, f"org_{n % 7}") for n in range(first, first + 100)])
            wait_for(lambda: sink.received() >= MESSAGES or run.failures, "all are delivered")
        finally:
            ends.set()
            reloading.join()
        assert not run.failures
        assert run.worker.drain(30)
        attempts = list(run.events("policy_version", "pool", "route_reason", "fallback"))
    assert len(attempts) == MESSAGES
    assert all(len(versions) == 1 for versions in watched.batches)
    assert {by for versions in watched.batches for by in versions} == set(both), "both had a turn"
    for by, pool, reason, is_fallback in attempts:
        assert (pool, reason, bool(is_fallback)) == (both[str(by)], f"by {pool}", False)
