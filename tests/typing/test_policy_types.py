"""The policy surface as type checkers see it: types are an API, so they are tested.

Two of them, because authors' editors differ: mypy, strict, and pyright, strict. Both must accept
the good policy and the examples, and find every line of the bad one that is marked.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYRIGHT = ROOT / "tests" / "judges" / "node_modules" / "pyright" / "index.js"
ERROR = re.compile(r"^(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)
MARK = re.compile(r"# error: (?P<codes>[a-z, -]+)$")
BAD = HERE / "bad" / "policy.py"
GOOD = HERE / "good" / "policy.py"
SURFACE = ROOT / "python" / "postalynk" / "policy"
PUBLIC = (
    "__init__ answers bundle hooks limits load moment pools surface tables verdicts views"
    " testing/__init__ testing/doubles testing/hooks testing/strategies"
)
"""The modules whose names authors import."""


def _mypy(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _pyright(scratch: Path, paths: Sequence[Path], mode: str) -> dict[str, set[int]]:
    """File → lines of its errors."""
    config = {
        "include": [os.path.relpath(path, scratch) for path in paths],
        "extraPaths": [str(ROOT / "python")],
        "typeCheckingMode": mode,
        "pythonVersion": "3.11",
    }
    (scratch / "pyrightconfig.json").write_text(json.dumps(config))
    command = ["node", str(PYRIGHT), "--project", str(scratch), "--outputjson"]
    done = subprocess.run(
        [*command, "--pythonpath", sys.executable], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(paths), done.stdout
    found: dict[str, set[int]] = {}
    for error in told["generalDiagnostics"]:
        if error["severity"] == "error":
            print(error["file"], error["range"]["start"], error["message"])
            found.setdefault(error["file"], set()).add(error["range"]["start"]["line"] + 1)
    return found


def marked() -> set[tuple[int, str]]:
    """(line, mypy's code) of every mistake of the bad policy."""
    return {
        (number, code)
        for number, line in enumerate(BAD.read_text().splitlines(), 1)
        if (mark := MARK.search(line))
        for code in mark["codes"].split(", ")
    }


def test_a_good_policy_type_checks() -> None:
    assert _mypy(GOOD) == (0, "")


def test_every_mistake_is_found_on_its_line() -> None:
    status, output = _mypy(BAD)
    assert status == 1
    assert {(int(found["line"]), found["code"]) for found in ERROR.finditer(output)} == marked()


def test_pyright_finds_every_mistake_and_nothing_else(tmp_path: Path) -> None:
    """In the bad policy each marked line; nothing in the good one and in the examples."""
    examples = sorted((ROOT / "examples").glob("*/policy.py"))
    assert len(examples) >= 8
    found = _pyright(tmp_path, [GOOD, BAD, *examples], "strict")
    assert found == {str(BAD): {line for line, _ in marked()}}


def test_pyright_finds_nothing_in_the_surface_itself(tmp_path: Path) -> None:
    modules = [SURFACE / f"{module}.py" for module in PUBLIC.split()]
    assert _pyright(tmp_path, modules, "standard") == {}
