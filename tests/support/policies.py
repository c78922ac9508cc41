"""Run the tests of a policy directory as its author would."""

import subprocess
import sys
from pathlib import Path


def pytest_run(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "postalynk.policy.testing.plugin", "-q",
         "-p", "no:cacheprovider", "--rootdir", str(directory), str(directory)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
