"""Others judge what we compose and sign: none of them shares code with us.

Messages of every structure, script and size are drawn by hypothesis. Python's `email` must read
back the same text, names, files and addresses and no header that was not meant; dkimpy must verify
both signatures and refuse them after one changed byte. More judges: ``test_judges.py``.
"""

import email
import email.policy
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import dkim
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postalynk.dkim import Signer, generate_key
from postalynk.mime import Attachment, Calendar, MessageError, compose

AT = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
FROM = "orders@shop.example.com"
OWN = ["From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID"]
ROOT = ["MIME-Version", "Content-Type", "Content-Transfer-Encoding"]

SCRIPTS = [
    "Thank you for your order. ",
    "Grüße aus Köln – schön! ",
    "Спасибо за заказ. ",
    "ご注文ありがとうございます。",
    "شكرا لطلبك ",
    "🎉👩‍👩‍👧 ",
    "=?utf-8?q?no?= ",
    "--=_ \t trailing \n",
    ".\r\n..\n",
    "From here\n",
    "a" * 1_200,
    "\r",
]
written = st.lists(st.sampled_from(SCRIPTS), max_size=12).map("".join)
long = st.builds(lambda piece, n: piece * n, st.sampled_from(SCRIPTS), st.integers(0, 4_000))
text = st.one_of(st.none(), written, long)
line = written.map(lambda s: "".join(c for c in s if c >= " " or c == "\t"))
name = line.map(lambda s: s.strip()[:80])
local = st.text("abcdefghijklmnopqrstuvwxyz0123456789.+-_", min_size=1, max_size=20)
address = local.map(lambda s: f"a{s.replace('.', '')}@example.org")
files = st.builds(
    Attachment,
    content=st.one_of(st.binary(max_size=400), st.integers(0, 300_000).map(bytes)),
    filename=name.map(
        lambda s: s.replace("\t", " ").encode()[:255].decode(errors="ignore").strip()
    ),
    content_type=st.sampled_from(["", "application/pdf", "image/png", "text/csv; charset=utf-8"]),
)
calendars = st.sampled_from([None, None, Calendar("BEGIN:VCALENDAR\nEND:VCALENDAR\n")])


def quoted(name: str, address: str) -> str:
    """A mailbox as an application would write it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>' if name else address


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of `compose`, with `names` beside them for the comparison."""
    people = draw(st.lists(st.tuples(name, address), min_size=1, max_size=4))
    return {
        "names": people,
        "to": [quoted(*p) for p in people],
        "subject": draw(line),
        "text": draw(text),
        "html": draw(text),
        "calendar": draw(calendars),
        "attachments": draw(st.lists(files, max_size=3)),
        "headers": draw(st.sampled_from([[], [("X-Order", "7"), ("List-Id", "<a.example.com>")]])),
    }


def composed(arguments: dict[str, Any]) -> bytes:
    given = {k: v for k, v in arguments.items() if k != "names"}
    # What is read back is what was given: no text part made from the HTML comes between.
    fixed: dict[str, Any] = {"date": AT, "message_id": "1@shop.example.com", "auto_text": False}
    return compose(from_=FROM, **fixed, **given).bytes


def mailboxes(raw: bytes) -> list[tuple[str, str]]:
    """Names and addresses of To, by the older half of `email`.

    The newer one puts a space between two encoded words of a name, against RFC 2047 section 6.2.
    """
    folded = email.message_from_bytes(raw)["To"]
    pairs = getaddresses([folded.replace("\r\n", "")])
    return [(str(make_header(decode_header(name))), address) for name, address in pairs]


def lines_of(text: str) -> str:
    """Any line end is a line end; the last one may be the boundary's."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(arguments=messages())
def test_law_email_reads_back_what_was_given(arguments: dict[str, Any]) -> None:
    """Law `email_reads_back_what_was_given`: texts, names, addresses, files and their names."""
    raw = composed(arguments)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    assert mailboxes(raw) == arguments["names"]
    assert message["Subject"].rstrip() == arguments["subject"].rstrip()
    expected = [h for h in OWN if h in {"From", "To", "Subject", "Date", "Message-ID"}]
    expected += [name for name, _ in arguments["headers"]] + ROOT
    if message.is_multipart():
        expected.remove("Content-Transfer-Encoding")
    assert message.keys() == expected
    leaves = [part for part in message.walk() if not part.is_multipart()]
    shown = [p for p in leaves if p.get_content_disposition() is None]
    texts = [arguments[k] for k in ("text", "html") if arguments[k] is not None]
    if arguments["calendar"] is not None:
        texts.append(arguments["calendar"].object)
    if not texts and not arguments["attachments"]:
        texts = [""]
    assert [lines_of(p.get_content()) for p in shown] == [lines_of(t) for t in texts]
    attached = [p for p in leaves if p.get_content_disposition() == "attachment"]
    assert [p.get_payload(decode=True) for p in attached] == [
        f.content for f in arguments["attachments"]
    ]
    assert [p.get_filename() or "" for p in attached] == [
        f.filename for f in arguments["attachments"]
    ]
    wire = raw.split(b"\r\n")
    assert max(map(len, wire)) <= 998
    assert not any(b"\r" in piece or b"\n" in piece for piece in wire)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(anything=st.lists(st.text(max_size=60), min_size=6, max_size=6))
def test_law_any_unicode_makes_only_the_intended_headers(anything: list[str]) -> None:
    """Law `any_unicode_makes_only_the_intended_headers`: it is refused, or stays in place."""
    subject, shown, value, filename, body, html = anything
    try:
        message = compose(
            from_=quoted(shown, FROM),
            to="b@example.org",
            subject=subject,
            headers=[("X-Any", value)],
            text=body,
            html=html,
            attachments=[Attachment(b"x", filename)],
            date=AT,
            message_id="1@example.com",
        )
    except MessageError:
        return
    head = message.bytes[: message.header_size].decode("ascii")
    names = [
        field.partition(":")[0] for field in head.split("\r\n") if field[:1] not in {"", " ", "\t"}
    ]
    intended = ["From", "To", "Subject", "Date", "Message-ID", "X-Any", "MIME-Version"]
    assert names == [*intended, "Content-Type"]
    parsed = email.message_from_bytes(message.bytes, policy=email.policy.default)
    assert [p.get_content_type() for p in parsed.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/octet-stream",
    ]


SIGNERS = [Signer("shop.example.com", f"{a}1", generate_key(a)) for a in ("rsa", "ed25519")]
RECORDS = {f"{s.selector}._domainkey.{s.domain}": s.dns_record for s in SIGNERS}


def dns(name: bytes, timeout: int = 5) -> bytes:
    return RECORDS[name.decode().rstrip(".")].encode()


def is_valid(message: bytes, index: int) -> bool:
    try:
        return bool(dkim.DKIM(message).verify(index, dnsfunc=dns))
    except dkim.DKIMException:
        return False


def signed(message: bytes) -> bytes:
    return b"".join(signer.sign(message) for signer in SIGNERS) + message


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(arguments=messages(), at=st.floats(0, 1, exclude_max=True))
def test_law_dkimpy_verifies_and_refuses_one_changed_byte(
    arguments: dict[str, Any], at: float
) -> None:
    """Law `dkimpy_verifies_and_refuses_one_changed_byte`, for both algorithms.

    A byte of white space may change without notice: that is what relaxed means.
    """
    message = composed(arguments)
    fields = b"".join(signer.sign(message) for signer in SIGNERS)
    assert is_valid(fields + message, 0)
    assert is_valid(fields + message, 1)
    solid = [i for i in range(len(message)) if message[i] > 0x20][:-1] or [0]
    place = solid[int(at * len(solid))]
    # Letters of a header name may change their case, so the change is more than that.
    changed = message[:place] + bytes([message[place] ^ 0x01]) + message[place + 1 :]
    verdicts = [is_valid(fields + changed, index) for index in (0, 1)]
    unsigned = changed[:place].count(b"X-Order") or b"X-Order" in message[place - 9 : place + 9]
    assert verdicts == [False, False] or unsigned
