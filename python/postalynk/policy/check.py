"""`check`: everything that can be known of a policy before it routes a message.

**Model.** Four steps, each of which says what is wrong where: it loads; its types are right (mypy,
where that is installed); lint finds nothing; the examples in its docstrings are true. A policy
that does not load is not looked at further.
**Not here.** Its tests (``postalynk policy test``, pytest's own), and a replay.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import postalynk
from postalynk.errors import PolicyError
from postalynk.policy.lint import lint
from postalynk.policy.load import load_bundle
from postalynk.policy.testing.examples import run_examples

if TYPE_CHECKING:
    from postalynk.policy.bundle import Bundle

_MYPY = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<what>.*)$", re.MULTILINE)
MYPY_LIMIT_S = 120


class Step(NamedTuple):
    """One step and what it found."""

    name: Literal["load", "types", "lint", "examples"]
    state: Literal["ok", "failed", "skipped"]
    findings: list[str]
    """``policy.py:12: what``; of a step that is skipped, why."""


def check(bundle: Bundle) -> list[Step]:
    """All steps, in order."""
    try:
        policies = load_bundle(bundle)
    except PolicyError as error:
        return [Step("load", "failed", [str(error)])]
    findings = [
        f"{found} ({found.fix}; docs/policy/{found.code}.md)" for found in lint(bundle.sources)
    ]
    wrong = [
        f"{example.place}: {example.failure}"
        for example in run_examples(policies)
        if example.failure
    ]
    return [
        Step("load", "ok", []),
        _types(bundle),
        Step("lint", "failed" if findings else "ok", findings),
        Step("examples", "failed" if wrong else "ok", wrong),
    ]


def _types(bundle: Bundle) -> Step:
    if importlib.util.find_spec("mypy") is None:
        return Step("types", "skipped", ["mypy is not installed: pip install 'postalynk[testing]'"])
    # A copy: exactly the bytes of the bundle, in a directory whose name is a package's.
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch, "bundle")
        package.mkdir()
        (package / "__init__.py").touch()
        for name, data in bundle.sources.items():
            (package / name).write_bytes(data)
        options = "--strict --no-error-summary --no-color-output --follow-imports=silent"
        command = [sys.executable, "-m", "mypy", *options.split(), "--cache-dir", os.devnull]
        done = subprocess.run(
            [*command, "bundle"],
            cwd=scratch,
            env={**os.environ, "MYPYPATH": _own_path()},
            capture_output=True,
            text=True,
            check=False,
            timeout=MYPY_LIMIT_S,
        )
    if done.returncode == 0:
        return Step("types", "ok", [])
    found = [
        f"{Path(error['file']).name}:{error['line']}: {error['what']}"
        for error in _MYPY.finditer(done.stdout)
    ]
    return Step("types", "failed", found or [(done.stdout + done.stderr).strip()])


def _own_path() -> str:
    """Where mypy finds us when we are not installed; it refuses to be told of site-packages."""
    place = Path(postalynk.__file__).resolve().parents[1]
    return "" if place.name == "site-packages" else str(place)
