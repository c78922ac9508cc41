"""Two judges who share no code with us or each other check what Postfix received.

What runs: `postalynk up`, Debian's Postfix; dkimpy with the DNS records that `domain add` printed;
`opendkim-testmsg` with a resolv.conf of its own, in which the testkit's DNS server serves the same
records. What breaks: one byte of a body. What holds: both signatures of every message, RSA and
Ed25519, verify after the way through SMTP, and fail after the change.
"""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dkim
import pytest

from tests.support.postfix import Receiver
from tests.support.processes import Dns, Postalynk

RESOLVER = "127.0.0.77"
"""An address of loopback where nobody else serves port 53, the only one libresolv asks."""
SELECTORS = {"pl1": "rsa-sha256", "pl2": "ed25519-sha256"}
MESSAGES: dict[str, dict[str, Any]] = {
    "plain": {"subject": "Hello", "text": "Hi\n"},
    "trailing space and blank lines": {"subject": "Space  twice", "text": "a \t b  \n\n\n\n"},
    "dots and a long line": {"subject": "." * 200, "text": ".\n..\n" + "x" * 5_000 + "\n.\n"},
    "everything": {
        "subject": "Zażółć gęślą jaźń " * 12,
        "text": "Grüße\n",
        "html": "<p>Grüße</p>\n",
        "headers": {"X-Campaign": "spring – ł"},
        "attachments": [
            {"filename": "Übersicht.bin", "content": base64.b64encode(bytes(3_000)).decode()}
        ],
    },
}


@pytest.fixture(scope="module")
def arrived(to_postfix: Postalynk, receiver: Receiver) -> dict[str, bytes]:
    """Each message as Postfix stored it."""
    sent = {
        name: to_postfix.send(to="judge@rcpt.example", **message)
        for name, message in MESSAGES.items()
    }
    for message_id in sent.values():
        to_postfix.wait_state(message_id, "delivered")
    return {name: receiver.message(message_id) for name, message_id in sent.items()}


@pytest.fixture(scope="module")
def resolv_conf(to_postfix: Postalynk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A resolv.conf that names a DNS server with the records of the domain."""
    base = tmp_path_factory.mktemp("dns")
    zone = [f"{r['name']} {r['type']} {r['value']}" for r in to_postfix.records]
    server = Dns(base, zone, f"{RESOLVER}:53")
    file = base / "resolv.conf"
    file.write_text(f"nameserver {RESOLVER}\noptions attempts:1 timeout:5\n")
    yield file
    server.stop()


def test_the_records_are_those_of_both_keys(to_postfix: Postalynk) -> None:
    names = {record["name"] for record in to_postfix.records}
    assert {f"{selector}._domainkey.example.com" for selector in SELECTORS} <= names


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("selector", SELECTORS)
def test_dkimpy(to_postfix: Postalynk, arrived: dict[str, bytes], name: str, selector: str) -> None:
    published = {r["name"]: r["value"].encode() for r in to_postfix.records if r["type"] == "TXT"}

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        return published.get(name.decode().rstrip("."))

    alone = with_only(arrived[name], selector)
    judge = dkim.DKIM(alone)
    assert judge.verify(dnsfunc=txt)
    fields = {key.decode(): value.decode() for key, value in judge.signature_fields.items()}
    assert fields["a"] == SELECTORS[selector]
    assert (fields["d"], fields["s"], fields["c"]) == ("example.com", selector, "relaxed/relaxed")
    # Signed twice over what there is once: a second From or Subject cannot be put on top.
    signed = fields["h"].lower().replace(" ", "").split(":")
    assert signed.count("from") == signed.count("subject") == 2
    assert not dkim.verify(altered(alone), dnsfunc=txt)
    assert not dkim.verify(b"From: Mallory <m@example.com>\n" + alone, dnsfunc=txt)


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("selector", SELECTORS)
def test_opendkim(arrived: dict[str, bytes], resolv_conf: Path, name: str, selector: str) -> None:
    alone = with_only(arrived[name], selector)
    assert opendkim(alone, resolv_conf) == ""
    assert "Bad signature" in opendkim(altered(alone), resolv_conf)


def opendkim(message: bytes, resolv_conf: Path) -> str:
    """What `opendkim-testmsg` objects to; nothing when the signature verifies."""
    bound = f'mount --bind "{resolv_conf}" /etc/resolv.conf && exec opendkim-testmsg'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", bound], input=message, capture_output=True, check=False
    )
    objection = done.stderr.decode()
    assert (done.returncode == 0) == (objection == ""), (done.returncode, objection)
    return objection


def with_only(message: bytes, selector: str) -> bytes:
    """The message without the signatures of other selectors, so that one cannot stand in."""
    head, gap, body = message.partition(b"\n\n")
    fields = re.split(rb"\n(?![ \t])", head)
    signatures = [field for field in fields if field.lower().startswith(b"dkim-signature:")]
    assert len(signatures) == len(SELECTORS)
    others = [s for s in signatures if not re.search(rb"[;\s]s=%b;" % selector.encode(), s)]
    assert len(others) == len(SELECTORS) - 1
    return b"\n".join(field for field in fields if field not in others) + gap + body


def altered(message: bytes) -> bytes:
    """One letter of the body another one."""
    head, gap, body = message.partition(b"\n\n")
    place = next(at for at in range(len(body) // 2, -1, -1) if body[at : at + 1].isalpha())
    letter = b"b" if body[place : place + 1] == b"a" else b"a"
    return head + gap + body[:place] + letter + body[place + 1 :]
