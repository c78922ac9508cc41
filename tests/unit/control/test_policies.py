"""Deployed policies: durable, the five last kept, one in force, the worker's swapped as a whole."""

from pathlib import Path

import pytest

from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.control.values import KEPT_POLICIES
from postalynk.errors import ControlError, PolicyError
from postalynk.policy import DEFAULT, Bundle, load, made_of
from postalynk.service import policies
from tests.fakes.queue import MemoryQueue

MASTER = bytes(range(32))


def bundle(pool: str) -> Bundle:
    text = (
        "from postalynk.policy import Route, policy\n"
        f"@policy.route\ndef route(m, p, n):\n    return Route('{pool}')\n"
    )
    return made_of({"policy.py": text.encode(), "vip.toml": b"[vip]\n"}, Path("policy"))


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def control(queue: MemoryQueue) -> Control:
    return Control(queue, Secrets(MASTER), clock=lambda: 1_900_000_000_000_000)


def test_deploy_survives_a_restart(queue: MemoryQueue, control: Control) -> None:
    control.deploy_policy(bundle("a"))
    again = Control(queue, Secrets(MASTER)).directory
    deployed = again.deployed_policy()
    assert deployed is not None
    assert policies.bundle_of(deployed).content == bundle("a").content
    assert policies.bundle_of(deployed).version == bundle("a").version
    assert policies.listed(again) == {
        "in_force": bundle("a").version,
        "canary": None,
        "ended": "",
        "deployed": [
            {
                "version": bundle("a").version,
                "deployed_at": "2030-03-17T17:46:40+00:00",
                "files": ["policy.py", "vip.toml"],
            }
        ],
    }


def test_what_cannot_be_loaded_is_not_deployed(control: Control) -> None:
    bad = made_of({"policy.py": b"1 / 0\n"}, Path("policy"))
    with pytest.raises(PolicyError, match=r"policy\.py:1: ZeroDivisionError"):
        control.deploy_policy(bad)
    assert control.directory.deployed_policy() is None


def test_five_are_kept(queue: MemoryQueue, control: Control) -> None:
    names = [f"pool-{number}" for number in range(8)]
    for name in names:
        control.deploy_policy(bundle(name))
    kept = [bundle(name).version for name in names[-KEPT_POLICIES:]]
    directory = Control(queue, Secrets(MASTER)).directory
    assert directory.snapshot.in_force.kept == kept
    assert sorted(directory.snapshot.policies) == sorted(kept)


def test_rollback_goes_back_one_at_a_time_and_at_last_to_the_configured_one(
    control: Control,
) -> None:
    first, second = bundle("a"), bundle("b")
    control.deploy_policy(first)
    control.deploy_policy(second)
    assert control.roll_back_policy().current == first.version
    assert control.roll_back_policy().current == ""
    with pytest.raises(ControlError, match="no deployed policy is in force"):
        control.roll_back_policy()
    assert control.roll_back_policy(second.version).current == second.version
    with pytest.raises(ControlError, match="is not kept"):
        control.roll_back_policy("nowhere")
    # Deploying again moves it to the end: the one before it is the other.
    control.deploy_policy(first)
    assert control.roll_back_policy().current == second.version


def test_the_switch_loads_once_a_change(control: Control) -> None:
    configured = load(DEFAULT)
    switch = policies.PolicySwitch(configured)
    assert switch.in_force(control.directory) is configured
    control.deploy_policy(bundle("a"))
    loaded = switch.in_force(control.directory)
    assert loaded.version == bundle("a").version
    control.create_organization("Acme")
    assert switch.in_force(control.directory) is loaded
    control.roll_back_policy()
    assert switch.in_force(control.directory) is configured


def test_a_canary_is_promoted_or_taken_back(queue: MemoryQueue, control: Control) -> None:
    kept, tried = bundle("a"), bundle("b")
    control.deploy_policy(kept)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ControlError, match="a canary cannot have"):
            control.deploy_policy(tried, share)
    with pytest.raises(ControlError, match="is in force already"):
        control.deploy_policy(kept, 0.05)
    with pytest.raises(ControlError, match="no canary is on trial"):
        control.promote_policy()

    control.deploy_policy(tried, 0.05)
    again = Control(queue, Secrets(MASTER)).directory
    assert policies.listed(again)["in_force"] == kept.version
    assert policies.listed(again)["canary"] == {
        "version": tried.version, "share": 0.05, "since": "2030-03-17T17:46:40+00:00",
    }  # fmt: skip
    assert control.roll_back_policy().current == kept.version
    assert control.directory.snapshot.in_force.canary == ""
    assert "by the operator" in control.directory.snapshot.in_force.ended

    control.deploy_policy(tried, 0.05)
    assert control.promote_policy().current == tried.version
    assert control.directory.snapshot.in_force.canary == ""
    assert control.roll_back_policy().current == kept.version

    control.deploy_policy(tried, 0.05)
    assert not control.end_canary("another", "bad")
    assert control.end_canary(tried.version, "bad")
    assert not control.end_canary(tried.version, "bad"), "once"
    ended = policies.listed(control.directory)
    assert (ended["in_force"], ended["canary"]) == (kept.version, None)
    assert ended["ended"] == f"{tried.version} taken back: bad"
    control.deploy_policy(tried, 0.05)
    assert control.deploy_policy(bundle("c")).canary == "", "a deployment ends a trial"


def test_what_decides_is_kept_whatever_is_tried(control: Control) -> None:
    control.deploy_policy(bundle("in-force"))
    for number in range(8):
        control.deploy_policy(bundle(f"try-{number}"), 0.5)
        in_force = control.directory.snapshot.in_force
        assert in_force.current == bundle("in-force").version
        assert set(control.directory.snapshot.policies) == set(in_force.kept)
        assert {in_force.current, in_force.canary} <= set(in_force.kept)
        assert len(in_force.kept) <= KEPT_POLICIES


def test_the_switch_gives_both_or_neither(control: Control) -> None:
    switch = policies.PolicySwitch(load(DEFAULT))
    control.deploy_policy(bundle("a"))
    alone = switch.in_force(control.directory)
    assert alone.canary is None
    control.deploy_policy(bundle("b"), 0.05)
    both = switch.in_force(control.directory)
    assert (both.version, alone.canary) == (alone.version, None)
    assert both.canary is not None
    assert (both.canary.policies.version, both.canary.share) == (bundle("b").version, 0.05)
    assert switch.in_force(control.directory) is both
    control.deploy_policy(bundle("b"), 0.5)
    more = switch.in_force(control.directory)
    assert more.canary is not None
    assert more.canary.share == 0.5
    assert more.canary.policies is both.canary.policies
    control.promote_policy()
    assert switch.in_force(control.directory).version == bundle("b").version
    assert switch.in_force(control.directory).canary is None


def test_files_travel_as_base64(control: Control) -> None:
    assert policies.received(policies.sent(bundle("a"))).content == bundle("a").content
    with pytest.raises(ControlError, match="not in base64"):
        policies.received({"policy.py": "é"})
    control.deploy_policy(bundle("a"))
    assert policies.deployed(control.directory, None).version == bundle("a").version
    with pytest.raises(ControlError, match="is not kept"):
        policies.deployed(control.directory, "nowhere")
