"""The master key's file, and what it seals."""

from __future__ import annotations

import base64
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.control.secrets import Secrets, load
from postalynk.errors import ControlError

MASTER = bytes(range(32))


@given(secret=st.binary(), place=st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_opens_in_its_place_only(secret: bytes, place: str) -> None:
    box = Secrets(MASTER)
    sealed = box.seal(secret, place)
    assert box.unseal(sealed, place) == secret
    for other, wrong in ((Secrets(bytes(32)), place), (box, place + "x")):
        with pytest.raises(ControlError):
            other.unseal(sealed, wrong)
    assert box.seal(secret, place) != sealed


@pytest.mark.parametrize("sealed", ["", "?", "AAAA", base64.b64encode(bytes(40)).decode()])
def test_a_broken_seal_is_a_control_error(sealed: str) -> None:
    with pytest.raises(ControlError, match="does not open"):
        Secrets(MASTER).unseal(sealed, "x")


def test_the_key_is_not_in_its_repr() -> None:
    box = Secrets(MASTER)
    assert repr(box) == "Secrets(…)"
    assert not hasattr(box, "__dict__")


def test_a_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / "master.key"
    sealed = load(path).seal(b"x", "p")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_bytes())) == 32
    assert load(path).unseal(sealed, "p") == b"x"
    assert [p.name for p in path.parent.iterdir()] == ["master.key"]


def test_two_who_start_at_once_share_one_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    found: list[Secrets] = []
    threads = [threading.Thread(target=lambda: found.append(load(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = found[0].seal(b"x", "p")
    assert [box.unseal(sealed, "p") for box in found] == [b"x"] * 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    load(path)
    path.chmod(mode)
    with pytest.raises(ControlError) as refused:
        load(path)
    assert refused.value.fix == f"chmod 600 {path}"


@pytest.mark.parametrize("text", [b"", b"AAAA", b"not base64!", base64.b64encode(bytes(31))])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ControlError) as refused:
        load(path)
    assert "restore" in refused.value.fix


def test_of_a_link_the_target_is_judged(tmp_path: Path) -> None:
    """Orchestrators mount secrets as links."""
    real, link = tmp_path / "real", tmp_path / "master.key"
    sealed = load(real).seal(b"x", "p")
    link.symlink_to(real)
    assert load(link).unseal(sealed, "p") == b"x"
    real.chmod(0o644)
    with pytest.raises(ControlError):
        load(link)
