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

from postalynk.policy import read_bundle
from postalynk.routing import is_candidate
from tests.support.processes import Postalynk, Sink, wait_for

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
    environ = {"POSTALYNK_POLICY__EXPLAIN_ONE_IN": "1"}
    target = Postalynk(tmp_path / "up", sink.address, environ=environ)
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

    (directory / "policy.py").write_text(ROUTE.format(pool="high", reason="tested"))
    (directory / "test_policy.py").write_text("def test_it(hooks):\n    assert hooks is None\n")
    refused = postalynk.command("policy", "deploy", str(directory))
    assert refused.returncode == 1
    assert "the policy's own tests fail" in refused.stderr
    (directory / "test_policy.py").unlink()
    (directory / "policy.py").write_text(BROKEN)
    refused = postalynk.command("policy", "deploy", str(directory))
    assert refused.returncode == 1
    assert "the policy fails for" in refused.stderr
    assert "of the last minute's" in refused.stderr
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
    (made,) = told["attempts"]
    assert (made["kind"], made["pool"], made["site"]) == ("delivered", "high", "rcpt.example")
    assert made["explanation"]["source"] == "return TO_HIGH", "what the policy in force did"
    (first, _) = postalynk.ask("why", urgent)["deliveries"]
    assert first["events"][0]["policy"]["explanation"] == made["explanation"]
    shown = postalynk.command("policy", "explain", urgent).stdout
    assert "attempt 1: delivered" in shown
    assert "decided at policy.py" in postalynk.command("why", urgent).stdout
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
    assert min(live.pop("decision_us").values()) > 0
    assert live["exceeded"] == []
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
    again = json.loads(stopped.stdout)
    del again["decision_us"]
    assert again == live, "the same table when nothing runs"


BROKEN = """\
from postalynk.policy import Message, Now, Pools, Route, policy


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    raise ValueError("a mistake no test of its author met")
"""


def an_organization(postalynk: Postalynk, version: str, *, is_tried: bool) -> str:
    """An API key of an organization that the canary decides about, or does not, at half of them."""
    number = 0
    while True:
        number += 1
        made = postalynk.ask("org", "create", f"Acme {number}")
        if is_candidate(version, 0.5, made["org"]) == is_tried:
            domain = f"acme-{number}-{is_tried}.example".lower()
            postalynk.ask("domain", "add", domain, "--org", made["org"])
            return f"{domain} {made['api_key']}"


def test_a_canary_that_fails_is_taken_back(postalynk: Postalynk, tmp_path: Path) -> None:
    """A candidate that raises decides for half of the organizations, until its failures are seen.

    What holds: each delivery names the version of its organization's arm (G4), all are delivered,
    and the version in force decides for everybody afterwards.
    """
    directory = tmp_path / "policy"
    directory.mkdir()
    (directory / "policy.py").write_text(ROUTE.format(pool="default", reason="in force"))
    kept = postalynk.ask("policy", "deploy", str(directory))["in_force"]
    (directory / "policy.py").write_text(BROKEN)
    tried = read_bundle(directory).version
    listed = postalynk.ask("policy", "deploy", str(directory), "--canary", "50%")
    assert (listed["running"], listed["running_canary"]) == (kept, tried)

    def mail(whose: str, recipients: int) -> dict[str, Any]:
        domain, key = whose.split()
        email = {"from": f"a@{domain}", "subject": "Hello", "text": "Hi"}
        to = [f"ada{number}@rcpt.example" for number in range(recipients)]
        status, answer = postalynk.request("POST", "/emails", email | {"to": to}, key=key)
        assert status in {200, 202}, answer
        postalynk.wait_states(answer["id"], *["delivered"] * recipients, key=key)
        deliveries = postalynk.ask("why", answer["id"])["deliveries"]
        decisions = [delivery["events"][0]["policy"] for delivery in deliveries]
        assert all(decision == decisions[0] for decision in decisions)
        first: dict[str, Any] = decisions[0]
        return first

    canaries = an_organization(postalynk, tried, is_tried=True)
    others = an_organization(postalynk, tried, is_tried=False)
    assert mail(others, 40)["version"] == kept
    decision = mail(canaries, 40)
    assert (decision["version"], decision["is_fallback"]) == (tried, True)
    assert postalynk.ask("policy", "list")["canary"] is not None, "40 are no evidence"
    for _ in range(2):
        mail(others, 40)
        mail(canaries, 40)
    wait_for(lambda: postalynk.ask("policy", "list")["canary"] is None, "the canary goes")
    listed = postalynk.ask("policy", "list")
    assert (listed["in_force"], listed["running"], listed["running_canary"]) == (kept, kept, "")
    assert f"{tried} taken back: failed" in listed["ended"]
    assert postalynk.metric("postalynk_policy_rollbacks_total") == 1
    assert mail(canaries, 1)["version"] == kept
