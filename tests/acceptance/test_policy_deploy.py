"""A policy is put in force while mail flows, and taken back.

What runs: `postalynk up` and the sink. What breaks: nothing; the policy changes under the worker,
and the process is killed once. What holds: each attempt names the version that routed it (G4), the
version survives `kill -9`, a policy that is wrong is refused and changes nothing.
"""

import json
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

NIGHTLY = """\
from postalynk.policy import Message, Now, Pools, Route, policy


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    if msg.priority == "high":
        if msg.rcpt.domain == "other.example":
            return Route("default", fallback=["default"])
        return Route("high", fallback=["default"])
    return Route("default")
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


def test_explain_and_replay_over_what_was_sent(postalynk: Postalynk, tmp_path: Path) -> None:
    directory = tmp_path / "policy"
    directory.mkdir()
    (directory / "policy.py").write_text(NIGHTLY)
    sent = [postalynk.send(to=f"ada{number}@rcpt.example") for number in range(6)]
    urgent = postalynk.send(to=["bob@rcpt.example", "eve@other.example"], priority="high")
    for message in (*sent, urgent):
        postalynk.wait_state(message, "delivered")

    told = postalynk.ask("policy", "explain", urgent, "--candidate", str(directory))
    assert [read["name"] for read in told["reads"]] == ["msg.priority", "msg.rcpt.domain"]
    assert (told["pool"], told["line"]) == ("high", "policy.py:9")
    told = postalynk.ask("policy", "explain", urgent, "--to", "eve@other.example")
    assert told["source"] == "return TO_HIGH"
    file = tmp_path / "message.json"
    file.write_text('{"provider": "google"}')
    told = postalynk.ask("policy", "explain", "--message", str(file), "--at", "23:00")
    assert told["pool"] == "majors"

    replay = ("policy", "replay", "--candidate", str(directory), "--max-changed", "12%")
    page = tmp_path / "replay.html"
    done = postalynk.command(*replay, "--html", str(page), "--json")
    assert done.returncode == 1, "one of eight is more than 12%"
    live = json.loads(done.stdout)
    assert (live["deliveries"], live["changed"], live["share"]) == (8, 1, 0.125)
    (change,) = live["changes"]
    assert (change["before"], change["after"], change["lane"]) == ("high", "default", "high")
    assert change["samples"] == [urgent]
    assert urgent in page.read_text()
    assert postalynk.command(*replay[:-1], "13%").returncode == 0
    # A deployed baseline is the candidate itself: nothing changes.
    postalynk.ask("policy", "deploy", str(directory))
    assert postalynk.ask("policy", "replay", "--candidate", str(directory))["changed"] == 0

    assert postalynk.stop() == 0
    postalynk.ask("policy", "rollback")
    stopped = postalynk.command(*replay, "--json")
    assert json.loads(stopped.stdout) == live, "the same table when nothing runs"
