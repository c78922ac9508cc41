"""An organization's list is asked before each delivery is routed; a policy sees what was lifted.

What runs: a worker on the embedded queue, the engine, the sink. What breaks: nothing. What holds:
suppressed mail ends without the policy being asked and without an attempt; a policy can send what
was suppressed lately another way.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postalynk._engine import Sink
from postalynk.policy import load
from postalynk.worker.parts import wall_us
from tests.support.processes import wait_for
from tests.support.workers import mail, running

POLICY = """
from postalynk.policy import *

@policy.route
def route(msg, pools, now):
    if msg.rcpt.address.startswith("r0@"):
        raise AssertionError("asked about a suppressed address")
    if msg.rcpt.suppression_age_s < 30 * 86_400:
        return Route("gentle", reason=f"{msg.rcpt.suppression_age_s:.0f} s ago")
    return Route("default", reason="never")
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    started = Sink()
    yield started
    started.stop()


def test_a_policy_treats_gently_what_was_suppressed_lately(sink: Sink, tmp_path: Path) -> None:
    directory = tmp_path / "policy"
    directory.mkdir()
    (directory / "policy.py").write_text(POLICY)
    pools = {"default": ["s1"], "gentle": ["s2"]}
    with running(tmp_path, sink, load(directory), pools) as run:
        now_us = wall_us()
        run.parts.engine.suppress(
            "org_1",
            [
                ("r0@example.org", now_us - 10, 0, "complained"),
                ("r1@example.org", now_us - 100_000_000, now_us - 5, "bounced"),
                ("r2@example.org", now_us - 40 * 86_400_000_000, now_us - 5, "bounced"),
            ],
        )
        run.accept([mail(number, "org_1") for number in range(4)])
        run.worker.start()
        wait_for(lambda: sink.received() >= 3 or run.failures, "three are delivered")
        assert run.worker.drain(30.0)
        told = {row[0]: row[1:] for row in run.events("address", "kind", "pool", "reason")}
        reasons = {row[0]: row[1] for row in run.events("address", "route_reason")}
    assert told["r0@example.org"][0] == "suppressed"
    assert str(told["r0@example.org"][2]).endswith("complained")
    assert told["r1@example.org"][:2] == ("delivered", "gentle")
    assert str(reasons["r1@example.org"]).startswith("100 s")
    assert {told[f"r{n}@example.org"][:2] for n in (2, 3)} == {("delivered", "default")}
    assert sink.received() == 3
