"""Three real receivers, one message in = one message out, whatever its body.

What runs: `postalynk up`; Debian's Postfix, Exim and OpenSMTPD behind the MX records of three
domains. What breaks: bodies that try to end early (every mixture of CR, LF, CRLF and NUL around a
dot, with a whole transaction behind it), lone dots, NUL, 8-bit, lines over 998 octets, no line end
at the end; handed in by DATA, by BDAT and by the API. What holds: a body that is accepted arrives
once at each receiver and nothing else does, and one that is refused arrives nowhere. All three get
the octets that were sent, but for what a receiver does to NUL by itself.
"""

import re
import smtplib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.support.foreign import Exim, Foreign, OpenSmtpd
from tests.support.postfix import Receiver
from tests.support.processes import Dns, Postalynk, wait_for

ENDS = {"CRLF": b"\r\n", "LF": b"\n", "CR": b"\r", "CRLF-NUL": b"\r\n\0"}
SECOND = (
    b"MAIL FROM:<ceo@example.com>%sRCPT TO:<ann@rcpt.example>%sDATA%s"
    b"From: ceo@example.com%sSubject: smuggled%s%spay%s.%s"
)
"""What would be a transaction of its own, with the line end of the attempt."""

SMUGGLED = {
    f"{before}.{after}": b"Hi" + ENDS[before] + b"." + ENDS[after] + SECOND % ((b"\r\n",) * 8)
    for before, after in product(ENDS, ENDS)
    if (before, after) != ("CRLF", "CRLF")  # escaped by any client, so a body like any other
}
UGLY = {
    "dots": b".\r\n..\r\n.x\r\n. \r\n\r\n.\r\n",
    "a second transaction": b"Hi\r\n.\r\n" + SECOND % ((b"\r\n",) * 8),
    "nul": b"a\0b\r\n\0.\r\n",
    "8-bit": "Za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105".encode() + b" \xff\xfe\x80\r\n",
    "998": b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n",
    "more than 998": b"x" * 999 + b"\r\n." + b"y" * 1_997 + b"\r\n",
    "empty": b"",
    "no line end": b"the end",
    "a dot at the end": b"x\r\n.",
}


@pytest.fixture(scope="module")
def others(receiver: Receiver) -> Iterator[list[Foreign]]:
    """Exim and OpenSMTPD on Postfix's port, at other addresses of loopback."""
    with tempfile.TemporaryDirectory(prefix="postalynk-receivers-") as base:
        made: list[Foreign] = []
        try:
            for kind, address in ((Exim, "127.0.0.11"), (OpenSmtpd, "127.0.0.12")):
                directory = Path(base, kind.name)
                directory.mkdir()
                domain = f"{kind.name.lower()}.example"
                made.append(kind(directory, address, receiver.port, domain))
                made[-1].start()
            yield made
        finally:
            for foreign in made:
                foreign.stop()


@pytest.fixture(scope="module")
def target(
    receiver: Receiver, others: list[Foreign], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Postalynk]:
    """A Postalynk that finds all three by their MX records."""
    base = tmp_path_factory.mktemp("three")
    zone = ["rcpt.example MX 10 mx.rcpt.example", "mx.rcpt.example A 127.0.0.1"]
    for foreign in others:
        zone.append(f"{foreign.domain} MX 10 mx.{foreign.domain}")
        zone.append(f"mx.{foreign.domain} A {foreign.address}")
    dns = Dns(base, zone, "127.0.0.1:0")
    settings = f'[delivery.smtp]\nport = {receiver.port}\n[dns]\nservers = ["{dns.address}"]\n'
    postalynk = Postalynk(base / "pl", settings=settings)
    try:
        yield postalynk.start().prepare()
    finally:
        postalynk.remove()
        dns.stop()


class Bodies:
    """Hands bodies in and knows which must arrive."""

    def __init__(self, target: Postalynk, recipients: list[str]) -> None:
        self.target, self.recipients = target, recipients
        self.accepted: dict[str, bytes | None] = {}
        """By name; None where it was written anew."""
        self.refused: list[str] = []
        self.client = smtplib.SMTP("127.0.0.1", target.smtp_port, timeout=60)
        self.client.login("postalynk", target.api_key)

    def by_smtp(self, name: str, body: bytes, *, is_chunk: bool) -> None:
        """As octets, by DATA (dots after CRLF doubled, as RFC 5321 asks) or BDAT."""
        head = f"From: shop@example.com\r\nX-Body: {name}\r\nSubject: x\r\n\r\n".encode()
        assert self.client.mail("shop@example.com", ["BODY=8BITMIME"])[0] == 250
        for recipient in self.recipients:
            assert self.client.rcpt(recipient)[0] == 250
        content = head + body
        if is_chunk:
            self.client.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
        else:
            assert self.client.docmd("DATA")[0] == 354
            stuffed = re.sub(rb"\r\n\.", b"\r\n..", content)
            self.client.send(stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"))
        self._note(name, body, self.client.getreply()[0])

    def by_api(self, name: str, body: bytes) -> None:
        """As text, which is written anew."""
        text = body.decode("latin-1")
        message = {"from": "shop@example.com", "subject": "x", "headers": {"X-Body": name}}
        status, _ = self.target.request(
            "POST", "/emails", {**message, "to": self.recipients, "text": text or " "}
        )
        self._note(name, None, 250 if status in {200, 202} else status)

    def _note(self, name: str, body: bytes | None, code: int) -> None:
        if code == 250:
            self.accepted[name] = body
        else:
            assert code in {550, 422}, (name, code)
            self.refused.append(name)


def name_of(raw: bytes) -> str:
    """Whose copy this is; a smuggled message has no such field."""
    found = re.search(rb"^X-Body: (.*)$", raw.partition(b"\n\n")[0], re.MULTILINE)
    return found[1].decode() if found else f"smuggled: {raw[:500]!r}"


def lines(octets: bytes) -> bytes:
    """With LF alone, the end's aside: Maildirs keep them so."""
    return octets.replace(b"\r\n", b"\n").rstrip(b"\n")


def check(bodies: Bodies, arrived: Callable[[], list[bytes]], *, may_cut_nul: bool = False) -> None:
    """Each accepted body is there once, and nothing else; with the octets that were sent."""
    wanted = Counter(dict.fromkeys(bodies.accepted, 1))
    wait_for(lambda: len(arrived()) >= len(wanted), "all arrive")
    found = Counter(map(name_of, arrived()))
    assert found == wanted, (found - wanted, wanted - found)
    for raw in arrived():
        meant = bodies.accepted[name_of(raw)]
        if meant is not None and not (may_cut_nul and b"\0" in meant):
            assert lines(raw.partition(b"\n\n")[2]) == lines(meant), name_of(raw)


def test_one_message_in_is_one_message_out(
    target: Postalynk, receiver: Receiver, others: list[Foreign]
) -> None:
    bodies = Bodies(target, ["ann@rcpt.example", *(f"ann@{f.domain}" for f in others)])
    before = len(receiver.messages())
    for name, body in (SMUGGLED | UGLY).items():
        bodies.by_smtp(f"DATA {name}", body, is_chunk=False)
        bodies.by_smtp(f"BDAT {name}", body, is_chunk=True)
        bodies.by_api(f"API {name}", body)
    # What some receiver takes for an end is refused; NUL behind CRLF is none anywhere.
    for how, name in product(("DATA", "BDAT"), SMUGGLED):
        is_bare = bool({"LF", "CR"} & set(name.split(".")))
        assert is_bare == (f"{how} {name}" in bodies.refused), name
    assert len(bodies.accepted) >= 2 * len(UGLY) + len(SMUGGLED)
    assert target.ask("drain", "--timeout", "60s")["drained"]
    for foreign in others:
        check(bodies, foreign.messages, may_cut_nul=isinstance(foreign, OpenSmtpd))
    check(bodies, lambda: receiver.messages()[before:])
    bodies.client.quit()
    audit = target.ask("audit")
    assert (audit["unaccounted"], audit["twice"]) == ([], [])
