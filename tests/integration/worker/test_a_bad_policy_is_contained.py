"""A policy does its worst to one organization's mail; everybody's is delivered all the same.

What runs: a worker on the embedded queue, the engine, the sink. What breaks: the policy, in one way
a story. What holds: no message is lost, the bad organization's takes the fallback where the policy
gave no answer, the others take their own route, and the fault is counted with its line (G4, G6).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postalynk._engine import Sink
from postalynk.policy import load
from postalynk.worker.parts import WorkerOptions
from tests.support.processes import wait_for
from tests.support.workers import mail, running

BAD = {
    "raises": ("raise ValueError('seven')", "raised ValueError"),
    "loops": ("while True: pass", "over its time budget"),
    "answers junk": ("return 5", "answered int, not a Route,"),
    "mutates globals": ("SEEN.append(msg.id)", "raised TypeError"),
    "opens a socket": ("socket.create_connection(('127.0.0.1', 9))", "raised ForbiddenInHook"),
    "asks DNS": ("socket.getaddrinfo('localhost', 25)", "raised ForbiddenInHook"),
    "reads a file": ("open('/etc/hostname').read()", "raised ForbiddenInHook"),
    "starts a program": ("subprocess.run(['true'])", "raised ForbiddenInHook"),
    "allocates a gigabyte": ("bytearray(1 << 30)", "raised MemoryError"),
    "allocates a gigabyte in pieces": (
        "[bytearray(1 << 20) for _ in range(1 << 10)]",
        "raised MemoryError",
    ),
}
"""How → what the hook does, and what `why` says of the deliveries it was asked about."""
POLICY = """
import socket, subprocess
from postalynk.policy import *

SEEN = []

@policy.route
def route(msg, pools, now):
    if msg.org.id == "org_bad":
        {bad}
    return Route("good", reason="as it should be")
"""
MESSAGES = 40


@pytest.fixture
def sink() -> Iterator[Sink]:
    started = Sink()
    yield started
    started.stop()


@pytest.mark.parametrize("how", BAD)
def test_a_bad_policy_costs_no_message(sink: Sink, tmp_path: Path, how: str) -> None:
    directory = tmp_path / "policy"
    directory.mkdir()
    does, said = BAD[how]
    (directory / "policy.py").write_text(POLICY.format(bad=does))
    pools = {"good": ["s1"], "default": ["s1"]}
    # Less memory than by default, for what is asked for in pieces is really taken; and time for it.
    budget_s = 0.005 if how == "loops" else 1.0
    options = WorkerOptions(memory_bytes=32 << 20, budget_s=budget_s)
    with running(tmp_path, sink, load(directory), pools, options) as run:
        run.accept([mail(n, "org_bad" if n % 2 else "org_good") for n in range(MESSAGES)])
        run.worker.start()
        wait_for(lambda: sink.received() >= MESSAGES or run.failures, "all are delivered")
        # The loop's batch took the fallback whole; the next one of the others does not.
        run.accept([mail(MESSAGES, "org_good")])
        wait_for(lambda: sink.received() > MESSAGES or run.failures, "the next is delivered")
        assert not run.failures
        assert run.worker.alive()
        assert run.worker.drain(30)
        reasons: dict[object, set[object]] = {}
        for org, reason in run.events("org", "route_reason"):
            reasons.setdefault(org, set()).add(reason)
        text = run.parts.metrics.exposition().decode()
    assert sink.received() == MESSAGES + 1
    # What is no answer is told of the hook, not of a line of it.
    line = 7 if how == "answers junk" else 10
    assert reasons["org_bad"] == {f"policy {said} at policy.py:{line}"}
    assert "as it should be" in reasons["org_good"]
    if how != "loops":
        assert reasons["org_good"] == {"as it should be"}, "the others of the batch"
    assert 'postalynk_policy_errors_total{function="route",hook="route",line="policy.py:' in text
