"""A step is skipped while its inputs are the same bytes under the same names, and only then."""

import os
import subprocess
from pathlib import Path

LIB = Path(__file__).resolve().parents[2] / "scripts" / "lib.sh"


def fingerprint(directory: Path, key: str = "key") -> str:
    """What `scripts/lib.sh` remembers of this directory."""
    script = f'. "{LIB}"; fingerprint "{key}" "{directory}"'
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_only_names_and_contents_count(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    before = fingerprint(tmp_path)

    os.utime(tmp_path / "one", (1, 1))
    assert fingerprint(tmp_path) == before, "a new date is not a change"
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "one.pyc").write_text("compiled")
    assert fingerprint(tmp_path) == before, "what Python leaves behind is not a change"

    (tmp_path / "one").write_text("2")
    changed = fingerprint(tmp_path)
    assert changed != before
    (tmp_path / "one").rename(tmp_path / "two")
    renamed = fingerprint(tmp_path)
    assert renamed != changed
    (tmp_path / "two").unlink()
    assert fingerprint(tmp_path) != renamed, "a file that is gone is a change"


def test_the_key_counts(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    assert fingerprint(tmp_path, "rustc 1.95") != fingerprint(tmp_path, "rustc 1.96")
