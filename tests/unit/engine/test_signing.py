"""The choice of what does RSA, and the multi-buffer code where this CPU can run it.

Each test says plainly which of the two it saw: a CPU without AVX-512 IFMA must refuse with that
reason, one with it must sign as aws-lc-rs does, octet by octet.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from postalynk._engine import DkimSigner, SigningLanes
from postalynk.dkim import generate_key
from postalynk.engine import choose_signing
from postalynk.errors import EngineError
from postalynk.settings import Delivery, Settings

LIBRARIES = Path(sys.prefix) / "lib"
HAS_IFMA = "avx512ifma" in Path("/proc/cpuinfo").read_text()
MESSAGE = b"From: a@example.com\r\nSubject: %d\r\n\r\nHello\r\n"


def settings(signer: str) -> Settings:
    return msgspec.structs.replace(Settings(), delivery=Delivery(signer=signer))


def test_crypto_mb_signs_as_aws_lc_or_says_that_the_cpu_cannot_run_it() -> None:
    if not HAS_IFMA:
        with pytest.raises(EngineError, match="this CPU cannot run it: it has no AVX-512 IFMA"):
            SigningLanes(str(LIBRARIES))
        return
    lanes = SigningLanes(str(LIBRARIES))
    keys = [generate_key() for _ in range(3)]
    beside = [DkimSigner("example.com", "s", key, lanes=lanes) for key in keys]
    alone = [DkimSigner("example.com", "s", key) for key in keys]
    messages = [MESSAGE % n for n in range(24)]
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: beside[n % 3].sign(messages[n], 1), range(24)))
    assert made == [alone[n % 3].sign(messages[n], 1) for n in range(24)]
    calls, requests, again = lanes.counts
    assert (requests, again) == (24, 0)
    assert 3 <= calls <= 24


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_call_of_any_size_signs_as_aws_lc(bits: int) -> None:
    if not HAS_IFMA:
        return
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"]
    key = subprocess.run(command, check=True, capture_output=True).stdout
    alone = DkimSigner("example.com", "s", key)
    for count in range(1, 9):
        lanes = SigningLanes(str(LIBRARIES))
        beside = DkimSigner("example.com", "s", key, lanes=lanes)
        with ThreadPoolExecutor(count) as threads:
            signing = threads.map(beside.sign, [MESSAGE % n for n in range(count)], [1] * count)
        assert list(signing) == [alone.sign(MESSAGE % n, 1) for n in range(count)]
        calls, requests, again = lanes.counts
        assert (1 <= calls <= count, requests, again) == (True, count, 0)


def test_auto_takes_what_the_machine_can() -> None:
    chosen = choose_signing(settings("auto"))
    if HAS_IFMA:
        assert chosen.name == "crypto_mb"
        assert chosen.threads(0) % 8 == 0
    else:
        assert chosen.name == "aws-lc-rs"
        assert "no AVX-512 IFMA" in chosen.reason
        assert chosen.threads(0) == 0
    assert chosen.threads(3) == 3


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    chosen = choose_signing(settings("auto"), tmp_path)
    assert chosen.name == "aws-lc-rs"
    assert "pip install 'postalynk[multibuffer]'" in chosen.reason
    with pytest.raises(EngineError, match=r"delivery\.signer = 'multibuffer'") as refused:
        choose_signing(settings("multibuffer"), tmp_path)
    assert "auto" in refused.value.fix


def test_another_library_of_its_name_is_refused(tmp_path: Path) -> None:
    for name in ("libintlc.so.5", "libimf.so", "libirng.so", "libsvml.so", "libcrypto_mb.so"):
        (tmp_path / name).write_bytes(b"\x7fELF")
    with pytest.raises(EngineError, match=r"libintlc\.so\.5 cannot be loaded"):
        SigningLanes(str(tmp_path))


def test_what_was_asked_for_is_taken() -> None:
    assert choose_signing(settings("aws-lc-rs")).reason == "delivery.signer says so"
