"""The examples of the policy guide run, and say what the guide says they do."""

import re
from pathlib import Path

import pytest

from postalynk.policy import DEFAULT, Now, Pools, load
from postalynk.routing import Resolver
from tests.support.policies import pytest_run
from tests.unit.doubles import Msg, Org, Rcpt, Tried

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "policy.md"
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
POLICIES = [text for name, text in BLOCKS if name == "policy.py"]
(VIP,) = re.findall(
    r"^```toml\n(# vip.toml\n.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
)
POOLS = Pools(["default", "high", "majors", "large", "canary"])
NIGHT, NOON = Now(23 * 3_600_000_000), Now(12 * 3_600_000_000)


def test_every_block_is_known() -> None:
    assert len(POLICIES) == 8
    assert len(BLOCKS) == 10
    assert GUIDE.read_text().count("```python\n") == len(BLOCKS)


@pytest.mark.parametrize("text", POLICIES)
def test_every_policy_loads_and_answers_without_a_fault(text: str, tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(text)
    (tmp_path / "vip.toml").write_text(VIP)
    resolver = Resolver(load(tmp_path))
    deliveries = [
        Msg(id=f"{size} {lane} {provider} {org}", size_bytes=size, priority=lane,
            rcpt=Rcpt(provider=provider), org=Org(org))
        for size in (1_000, 9_000_000)
        for lane in ("high", "bulk")
        for provider in ("", "google")
        for org in ("org_1", "org_42")
    ]  # fmt: skip
    for now in (NIGHT, NOON):
        assert resolver.resolve(deliveries, POOLS, now).faults == []
    for attempt in (Tried(), Tried(enhanced="4.7.28"), Tried(kind="in_doubt")):
        assert resolver.retry(attempt)[1] is None


def test_the_first_example_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(POLICIES[0])
    route = load(tmp_path).route.function
    assert route(Msg(size_bytes=9_000_000), POOLS, NOON).pool == "large"
    assert route(Msg(priority="bulk"), POOLS, NIGHT).not_before == "07:00"
    assert route(Msg(priority="bulk"), POOLS, NOON).not_before is None
    assert route(Msg(rcpt=Rcpt(provider="google")), POOLS, NOON).pool == "majors"


def test_the_retry_example_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(POLICIES[2])
    retry = load(tmp_path).retry.function
    assert retry(Tried(enhanced="4.7.28")).delays_s[0] == 900
    hurried = Msg(tags={"kind": "one-time-password"})
    assert retry(Tried(delivery=hurried)).max_age_s == 900
    assert retry(Tried()) == load(DEFAULT).retry.function(Tried())


@pytest.mark.parametrize("text", [POLICIES[6], POLICIES[7]])
def test_the_test_example_passes(text: str, tmp_path: Path) -> None:
    (test,) = (block for name, block in BLOCKS if name == "test_policy.py")
    (tmp_path / "policy.py").write_text(text)
    (tmp_path / "vip.toml").write_text(VIP)
    (tmp_path / "test_policy.py").write_text(test)
    done = pytest_run(tmp_path)
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("text", [POLICIES[0], POLICIES[6]])
def test_the_simulated_day_passes(text: str, tmp_path: Path) -> None:
    (test,) = (block for name, block in BLOCKS if name == "test_day.py")
    (tmp_path / "policy.py").write_text(text)
    (tmp_path / "test_day.py").write_text(test)
    done = pytest_run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout
