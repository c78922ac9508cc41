"""8-bit mail by SMTP to a receiver without 8BITMIME: read and verified by others.

What runs: `postalynk up` with SMTP submission, and the sink without 8BITMIME. What breaks: nothing;
the submitted message has 8-bit text, an 8-bit message in it, and somebody else's signature. What
holds: what arrives is ASCII, Python's `email` reads the same text and files, dkimpy verifies both
of our signatures, and nothing bounced. The signature of the other is lost with what it covers.
"""

import email
import email.policy
import smtplib
from email.message import EmailMessage
from pathlib import Path

import dkim

from postalynk.dkim import Signer, generate_key
from tests.support.processes import Postalynk, Sink, wait_for

TEXT = "Grüße aus Köln, 日本語も\n.\n" + "ü" * 300 + " \nЭто письмо.\n"
FILE = bytes(range(256)) * 20
STRANGER = Signer("stranger.example", "x1", generate_key("ed25519"))


def submitted() -> bytes:
    """With somebody else's signature."""
    eight_bit = email.policy.SMTP.clone(cte_type="8bit", max_line_length=998)
    inner = EmailMessage(eight_bit)
    inner["From"], inner["Subject"] = "Zoë <zoe@example.org>", "Größe"
    inner.set_content("Viele Grüße\n", cte="8bit")
    message = EmailMessage(eight_bit)
    message["From"], message["To"] = "Shop <shop@example.com>", "ada@rcpt.example"
    message["Subject"], message["Message-ID"] = "Schöne Grüße", "<eight@example.com>"
    message.set_content(TEXT, cte="8bit")
    message.add_alternative(f"<p>{TEXT}</p>", subtype="html", cte="8bit")
    message.add_attachment(FILE, "application", "x-any", filename="Übersicht.bin")
    message.add_attachment(inner)
    raw = message.as_bytes()
    assert b"8bit" in raw
    assert not raw.isascii()
    return STRANGER.sign(raw) + raw


def parts(raw: bytes) -> list[tuple[str, str | None, object]]:
    """Type, file name and content of every leaf."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    found: list[tuple[str, str | None, object]] = []
    for part in message.walk():
        assert isinstance(part, EmailMessage)
        assert not part.defects
        if not part.is_multipart():
            content = part.get_content()
            is_text = isinstance(content, str)
            content = content.replace("\r\n", "\n") if is_text else content
            found.append((part.get_content_type(), part.get_filename(), content))
    return found


def test_what_arrives_is_seven_bit_and_says_the_same(tmp_path: Path) -> None:
    store = tmp_path / "store"
    sink = Sink(tmp_path, "--seven-bit", "--store", str(store))
    postalynk = Postalynk(tmp_path / "p", sink.address)
    sent = submitted()
    try:
        postalynk.start().prepare()
        for _ in range(2):
            with smtplib.SMTP("127.0.0.1", postalynk.smtp_port, timeout=30) as client:
                client.login("postalynk", postalynk.api_key)
                options = ["BODY=8BITMIME"]
                refused = client.sendmail("shop@example.com", "ada@rcpt.example", sent, options)
                assert not refused
        wait_for(lambda: sink.count() == 2, f"both arrive\n{postalynk.log()}")
    finally:
        postalynk.remove()
        sink.stop()
    records = {r["name"]: r["value"] for r in postalynk.records if r["type"] == "TXT"}
    records[f"{STRANGER.selector}._domainkey.{STRANGER.domain}"] = STRANGER.dns_record

    def dns(name: bytes, timeout: int = 5) -> bytes:
        return records[name.decode().rstrip(".")].encode()

    def is_valid(raw: bytes, index: int) -> bool:
        try:
            return bool(dkim.DKIM(raw).verify(index, dnsfunc=dns))
        except dkim.DKIMException:
            return False

    # The first was refused for its 8-bit octets and made anew, the second was made so at once.
    for file in sorted(store.glob("*.eml")):
        arrived = file.read_bytes()
        assert arrived.isascii()
        assert max(map(len, arrived.split(b"\r\n"))) <= 998
        assert parts(arrived) == parts(sent)
        assert [is_valid(arrived, index) for index in range(3)] == [True, True, False]
    assert is_valid(sent, 0)
