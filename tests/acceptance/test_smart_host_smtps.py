"""A smart host that speaks TLS from the start (RFC 8314), which is a real Postfix.

Runs: Postfix in wrapper mode, as on port 465, with a certificate for its address. Breaks: the
authority that vouches for it. Holds: mail arrives over verified TLS, and never without (G1).
"""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postfix import Receiver
from tests.support.processes import Postalynk, free_port

AUTHORITY = ("-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem")
LEAF = (
    *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
    *("-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key"),
    *("-keyout", "key", "-out", "cert"),
)


class Wrapped(Receiver):
    """A receiver in wrapper mode."""

    def __init__(self, base: Path, port: int) -> None:
        super().__init__(base, port)
        for wanted in (AUTHORITY, LEAF):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *wanted],
                check=True,
                capture_output=True,
                cwd=base,
            )
        (base / "tls.pem").write_text((base / "key").read_text() + (base / "cert").read_text())
        with (base / "etc/main.cf").open("a") as main:
            main.write("smtpd_tls_wrappermode = yes\n")

    def _greets(self) -> bool:
        done = subprocess.run(
            ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{self.port}"],
            input=b"QUIT\r\n",
            capture_output=True,
            check=False,
        )
        return b"220 " in done.stdout


@pytest.fixture(scope="module")
def wrapped() -> Iterator[Wrapped]:
    with tempfile.TemporaryDirectory(prefix="postalynk-smtps-") as base:
        postfix = Wrapped(Path(base), free_port())
        try:
            postfix.start()
            yield postfix
        finally:
            postfix.stop()


def settings(ca_file: Path | str) -> str:
    return f'[delivery.tls]\ndefault = "verify"\nca_file = "{ca_file}"\n'


@pytest.fixture
def sender(wrapped: Wrapped, tmp_path: Path) -> Iterator[Postalynk]:
    target = Postalynk(
        tmp_path,
        f"127.0.0.1:{wrapped.port}",
        settings=settings(wrapped.base / "ca.pem"),
        delivery='smart_host_tls = "implicit"\n',
    )
    try:
        yield target.start().prepare()
    finally:
        target.remove()


def test_mail_arrives_over_tls_from_the_start_and_not_without(
    wrapped: Wrapped, sender: Postalynk
) -> None:
    sent = sender.send(to=["ann@rcpt.example"])
    sender.wait_states(sent, "delivered")
    assert b"using TLSv1.3" in wrapped.message(sent)
    # Nobody vouches for it any more: the mail waits, and nothing is tried in plaintext.
    sender.stop()
    sender.settings = sender.settings.partition("ca_file")[0]
    sender.__post_init__()
    sender.start()
    waiting = sender.send(to=["ann@rcpt.example"])
    sender.wait_states(waiting, "deferred")
    assert f"<{waiting}@".encode() not in b"".join(wrapped.messages()).lower()
