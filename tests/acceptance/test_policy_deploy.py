"""A policy is put in force while mail flows, and taken back.

What runs: `postalynk up` and the sink. What breaks: nothing; the policy changes under the worker,
and the process is killed once. What holds: each attempt names the version that routed it (G4), the
version survives `kill -9`, a policy that is wrong is refused and changes nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Postalynk, Sink

ROUTE = """\
from postalynk.policy import Message, Now, Pools, Route, policy


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    return Route("{pool}", reason="{reason}")
"""


@pytest.fixture
def postalynk(sink: Sink, tmp_path: Path) -> Iterator[Postalynk]:
    target = Postalynk(tmp_path / "up", sink.address)
    try:
        yield target.start().prepare()
    finally:
        target.remove()


def routed(postalynk: Postalynk) -> dict[str, Any]:
    """What routed a message that is sent now."""
    sent = postalynk.send(to="ada@rcpt.example")
    postalynk.wait_state(sent, "delivered")
    (delivery,) = postalynk.ask("why", sent)["deliveries"]
    decision: dict[str, Any] = delivery["events"][-1]["policy"]
    return decision


def test_deploy_and_rollback_under_way(postalynk: Postalynk, tmp_path: Path) -> None:
    directory = tmp_path / "policy"
    directory.mkdir()
    shipped = routed(postalynk)["version"]
    versions = []
    for pool in ("default", "high"):
        (directory / "policy.py").write_text(ROUTE.format(pool=pool, reason=f"now {pool}"))
        listed = postalynk.ask("policy", "deploy", str(directory))
        versions.append(listed["in_force"])
        assert listed["running"] == listed["in_force"]
        decision = routed(postalynk)
        assert (decision["version"], decision["reason"]) == (versions[-1], f"now {pool}")

    (directory / "policy.py").write_text("1 / 0\n")
    refused = postalynk.command("policy", "deploy", str(directory))
    assert refused.returncode == 1
    assert "policy.py:1: ZeroDivisionError" in refused.stderr
    assert routed(postalynk)["version"] == versions[1]

    assert postalynk.ask("policy", "rollback")["running"] == versions[0]
    assert routed(postalynk)["version"] == versions[0]
    postalynk.kill()
    postalynk.start()
    assert routed(postalynk)["version"] == versions[0], "in force over a crash"

    (directory / "policy.py").write_text(ROUTE.format(pool="high", reason="now default"))
    changed = postalynk.command("policy", "diff", str(directory))
    assert changed.returncode == 1
    assert '+    return Route("high", reason="now default")' in changed.stdout
    assert postalynk.ask("policy", "rollback")["running"] == shipped
    assert routed(postalynk)["version"] == shipped
