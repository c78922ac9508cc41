"""`policy new` and `policy check`: what is made is right, what is wrong is found in its step."""

from pathlib import Path

import pytest

from postalynk.errors import PolicyError
from postalynk.policy import read_bundle
from postalynk.policy.check import check
from postalynk.policy.scaffold import FILES, make
from tests.support.policies import pytest_run


def steps(directory: Path) -> dict[str, tuple[str, list[str]]]:
    return {step.name: (step.state, step.findings) for step in check(read_bundle(directory))}


def test_what_new_writes_passes_all_of_it(tmp_path: Path) -> None:
    directory = tmp_path / "my-policy"
    assert make(directory) == list(FILES)
    assert steps(directory) == {
        "load": ("ok", []), "types": ("ok", []), "lint": ("ok", []), "examples": ("ok", []),
    }  # fmt: skip
    assert "5 passed" in pytest_run(directory).stdout


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text("mine")
    with pytest.raises(PolicyError, match="is not empty"):
        make(tmp_path)
    assert (tmp_path / "policy.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("old", "new", "step", "finding"),
    [
        ("Now, Pools", "Now, Ponds", "load", "policy.py:3: ImportError"),
        ("msg.rcpt.provider", "msg.rcpt.supplier", "load", "policy.py:17: Recipient has no"),
        ("not_before=\"07:00\"", "not_before=7", "types", "policy.py:20: Argument"),
        ("if msg.priority", "if hash(msg.id) % 2 or msg.priority", "lint", "policy.py:19:8: PL102"),
        ("    'majors'\n", "    'minors'\n", "examples", "policy.py:12: "),
    ],
)  # fmt: skip
def test_each_step_finds_its_own(
    tmp_path: Path, old: str, new: str, step: str, finding: str
) -> None:
    directory = tmp_path / "policy"
    make(directory)
    path = directory / "policy.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    state, findings = steps(directory)[step]
    assert state == "failed"
    assert findings[0].startswith(finding)
