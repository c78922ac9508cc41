"""Five hundred messages, composed and signed, and what was meant: the material of judges.

Every structure, script and size from nothing to 20 MB is in it, drawn from a seed. Beside each
message lies one with one changed octet of a signed part, and the message with each signature alone,
for a judge that reads one at a time.
"""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from postalynk.dkim import Signer, generate_key
from postalynk.mime import Attachment, Calendar, compose

COUNT = 500
AT = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
SHOP = ("Örtliche Läden", "orders@shop.example.com")
SCRIPTS = [
    "Thank you for your order. ",
    "Grüße aus Köln – schön! ",
    "Спасибо за заказ. ",
    "ご注文ありがとうございます。",
    "شكرا لطلبك ",
    "🎉👩‍👩‍👧 ",
    "=?utf-8?q?no?= ",
    "Zażółć gęślą jaźń ",
    "धन्यवाद ",
    "תודה ",
]
LINES = [*SCRIPTS, "--=_ \t trailing \n", ".\n..\n", "From here\n", "\n\n", "a" * 1_200]
NAMES = ["", "Ada Lovelace", "Zoë Müller", "Лев Толстой", "山田 太郎", 'A "B", C']
FILES = ["", "report.pdf", "Übersicht März.pdf", "отчёт за год.pdf", "請求書.pdf", "a" * 94]
TYPES = ["application/pdf", "image/png", "application/octet-stream"]
BIG = {11: 20_000_000, 211: 2_000_000, 311: 2_000_000}
"""Octets of an attachment of some messages."""


@dataclass(frozen=True)
class Judged:
    """One message: what was meant, and where its files lie."""

    name: str
    subject: str
    to: list[tuple[str, str]]
    text: str | None
    html: str | None
    files: list[Attachment]
    is_changed_in_body: bool


class Corpus:
    """The messages in a directory, with the records that verify them."""

    def __init__(self, directory: Path, count: int = COUNT) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        domain = "shop.example.com"
        self.signers = {
            "rsa1": Signer(domain, "rsa1", generate_key("rsa")),
            "ed1": Signer(domain, "ed1", generate_key("ed25519")),
        }
        self.records = {
            f"{name}._domainkey.{domain}": signer.dns_record
            for name, signer in self.signers.items()
        }
        (directory / "records.json").write_text(json.dumps(self.records))
        lines = [f"{name}\t{record}\n" for name, record in self.records.items()]
        (directory / "records.tsv").write_text("".join(lines))
        chance = random.Random(20_261_124)
        self.messages = [self._make(n, chance) for n in range(count)]

    def _make(self, number: int, chance: random.Random) -> Judged:
        drawn = _draw(number, chance)
        raw = compose(
            from_=_mailbox(*SHOP),
            to=[_mailbox(*who) for who in drawn["to"]],
            subject=drawn["subject"],
            text=drawn["text"],
            html=drawn["html"],
            calendar=Calendar("BEGIN:VCALENDAR\nEND:VCALENDAR\n") if number % 17 == 3 else None,
            attachments=drawn["files"],
            date=AT,
            message_id=f"{number}@shop.example.com",
        ).bytes
        fields = {name: signer.sign(raw) for name, signer in self.signers.items()}
        changed, is_in_body = _change(raw, chance)
        both = b"".join(fields.values())
        name = f"{number:03}"
        for suffix, content in (
            ("eml", both + raw),
            ("changed.eml", both + changed),
            ("rsa", fields["rsa1"] + raw),
            ("ed25519", fields["ed1"] + raw),
            ("changed.rsa", fields["rsa1"] + changed),
            ("changed.ed25519", fields["ed1"] + changed),
        ):
            (self.directory / f"{name}.{suffix}").write_bytes(content)
        return Judged(name=name, is_changed_in_body=is_in_body, **drawn)

    def read(self, message: Judged, suffix: str = "eml") -> bytes:
        """A file of a message."""
        return (self.directory / f"{message.name}.{suffix}").read_bytes()


def _draw(number: int, chance: random.Random) -> dict[str, Any]:
    def written() -> str | None:
        if chance.random() < 0.3:
            return None
        length = chance.choice([0, 1, 3, 12, 200])
        return "".join(chance.choice(LINES) for _ in range(length))

    files = [
        Attachment(
            chance.randbytes(chance.choice([0, 1, 57, 1_000, 30_000])),
            chance.choice(FILES),
            chance.choice(TYPES),
        )
        for _ in range(chance.choice([0, 0, 0, 1, 3]))
    ]
    if number in BIG:
        files.append(Attachment(chance.randbytes(BIG[number]), "large.bin"))
    people = range(chance.choice([1, 1, 2, 5]))
    return {
        "subject": "".join(chance.choice(SCRIPTS) for _ in range(chance.choice([1, 2, 9]))).strip(),
        "to": [(chance.choice(NAMES), f"ada{n}@example.org") for n in people],
        # The first of all: nothing but the fields a message must have.
        "text": None if number == 0 else written(),
        "html": None if number == 0 else written(),
        "files": [] if number == 0 else files,
    }


def _mailbox(name: str, address: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>' if name else address


def _change(raw: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """One letter or digit of the body or of a signed field's value, another one."""
    body = raw.index(b"\r\n\r\n") + 4
    value = raw.index(b"\r\nSubject:") + len(b"\r\nSubject:")
    spans = {True: (body, len(raw)), False: (value, raw.index(b"\r\nDate:"))}
    in_body = [True, False] if chance.random() < 0.7 else [False, True]
    for is_in_body in in_body:
        start, end = spans[is_in_body]
        at = start + int(chance.random() * max(end - start, 1))
        for place in (*range(at, end), *range(at - 1, start - 1, -1)):
            if raw[place : place + 1].isalnum():
                other = b"b" if raw[place : place + 1] == b"a" else b"a"
                return raw[:place] + other + raw[place + 1 :], is_in_body
    raise AssertionError("a message without a letter in its subject")
