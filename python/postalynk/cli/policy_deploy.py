"""What a policy must show before `policy deploy` puts it in force, beside its `check`.

**Model.** Its own tests pass, where it has some and pytest is installed; and asked about the mail
of the last minute, as the log recorded it, it fails no more often than the policy in force.
"""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from postalynk.errors import PolicyError
from postalynk.policy.bundle import is_test
from postalynk.service.operations import ask
from postalynk.settings import Settings

SMOKE_S = 60
"""At a peak of 3,850 deliveries a second a replay of as much takes a second."""
MAX_LINES = 15
NOTHING_COLLECTED = 5
"""pytest's exit status when there is no test."""


def tested(directory: Path) -> None:
    """Run the policy's own tests; raises PolicyError with the end of what pytest says."""
    names = [path.name for path in directory.iterdir() if path.suffix == ".py"]
    has_tests = any(is_test(name) and name != "conftest.py" for name in names)
    if not has_tests or importlib.util.find_spec("pytest") is None:
        return
    done = subprocess.run(
        [*pytest_command(directory), "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, NOTHING_COLLECTED}:
        said = "\n".join(done.stdout.strip().splitlines()[-MAX_LINES:])
        raise PolicyError(
            f"the policy's own tests fail:\n{said}",
            fix=f"postalynk policy test {directory}; or deploy it --untested",
        )


def pytest_command(directory: Path) -> list[str]:
    """Pytest over a policy, with the plugin that gives tests the fixture ``hooks``."""
    command = [sys.executable, "-m", "pytest", "-p", "postalynk.policy.testing.plugin"]
    return [*command, "--rootdir", str(directory), str(directory)]


def smoked(settings: Settings, baseline: Mapping[str, str], candidate: Mapping[str, str]) -> None:
    """Replay the last minute; raises PolicyError when the candidate fails more than the other."""
    since_us = time.time_ns() // 1_000 - SMOKE_S * 1_000_000
    replayed = ask(
        settings, "replay_policy", timeout_s=300,
        baseline=baseline, candidate=candidate, since_us=since_us,
    )  # fmt: skip
    before, after = replayed["failures_before"], replayed["failures_after"]
    if after > before:
        raise PolicyError(
            f"the policy fails for {after} of the last minute's"
            f" {replayed['deliveries']} deliveries, the one in force for {before}",
            fix="postalynk policy replay --candidate DIRECTORY; or deploy it --untested",
        )
