"""Composing the same message twice: with `postalynk.mime` and with Python's `email`."""

import email
import email.policy
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from statistics import median

from benches.micro._measure import interleaved
from benches.micro._messages import FILE, FROM, HEADERS, HTML, MESSAGE_ID, SUBJECT, TEXT, TO
from benches.report import Report
from postalynk.mime import Attachment, compose

AT = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


def ours(files: int) -> bytes:
    """Compose with the façade, as an application would call it."""
    return compose(
        from_=f"{FROM[0]} <{FROM[1]}>",
        to=f"{TO[0]} <{TO[1]}>",
        subject=SUBJECT,
        text=TEXT,
        html=HTML,
        attachments=[Attachment(FILE, "invoice.pdf", "application/pdf")] * files,
        headers=HEADERS,
        date=AT,
        message_id=MESSAGE_ID,
    ).bytes


def theirs(files: int) -> bytes:
    """Compose with the standard library, as its documentation shows."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = Address(FROM[0], addr_spec=FROM[1])
    message["To"] = Address(TO[0], addr_spec=TO[1])
    message["Subject"] = SUBJECT
    message["Date"] = AT
    message["Message-ID"] = f"<{MESSAGE_ID}>"
    for name, value in HEADERS:
        message[name] = value
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    for _ in range(files):
        message.add_attachment(FILE, "application", "pdf", filename="invoice.pdf")
    return message.as_bytes()


def read(message: bytes) -> list[object]:
    """What a reader sees: headers, then the content of every leaf, line ends as in the source."""
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    seen: list[object] = [str(parsed[n]) for n in ("From", "To", "Subject", "Date", "Message-ID")]
    for part in parsed.walk():
        if not part.is_multipart():
            content = part.get_content()
            text = content.replace("\r\n", "\n") if isinstance(content, str) else content
            seen.append((part.get_content_type(), part.get_filename(), text))
    return seen


def run(name: str, files: int) -> int:
    """Check that both say the same, measure, write ``build/bench/NAME.json``."""
    if read(ours(files)) != read(theirs(files)):
        print("error: the two messages do not read alike")
        return 1
    rounds = interleaved(lambda: ours(files), lambda: theirs(files))
    sizes = {"octets_ours": len(ours(files)), "octets_theirs": len(theirs(files))}
    cpu_us = 1e6 / median(r.ours for r in rounds)
    report = Report(name, "messages per second of one core", rounds, cpu_us, more=sizes)
    path = report.write()
    ratios = [r.ours / r.theirs for r in rounds]
    print(f"{median(ratios):.0f}x ({min(ratios):.0f}-{max(ratios):.0f}), {cpu_us:.1f} us  {path}")
    return 0
