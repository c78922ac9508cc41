"""The policy surface as a type checker sees it: types are an API, so they are tested."""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ERROR = re.compile(r"^(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)
MARK = re.compile(r"# error: (?P<codes>[a-z, -]+)$")


def _mypy(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_good_policy_type_checks() -> None:
    assert _mypy(HERE / "good" / "policy.py") == (0, "")


def test_every_mistake_is_found_on_its_line() -> None:
    path = HERE / "bad" / "policy.py"
    wanted = {
        (number, code)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (mark := MARK.search(line))
        for code in mark["codes"].split(", ")
    }
    status, output = _mypy(path)
    assert status == 1
    assert {(int(found["line"]), found["code"]) for found in ERROR.finditer(output)} == wanted
