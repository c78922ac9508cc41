"""The examples are checked as a deployment would be, and their own tests pass."""

import re
from pathlib import Path

import pytest

from postalynk.policy import read_bundle
from postalynk.policy.check import check
from tests.support.policies import pytest_run

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def test_every_example_is_in_the_list() -> None:
    page = (EXAMPLES / "README.md").read_text()
    assert len(NAMES) >= 8
    assert [name for name in NAMES if f"({name}/policy.py)" not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_fit_to_be_deployed(name: str) -> None:
    steps = check(read_bundle(EXAMPLES / name))
    assert [(step.name, step.findings) for step in steps if step.state != "ok"] == []
    done = pytest_run(EXAMPLES / name)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 3
