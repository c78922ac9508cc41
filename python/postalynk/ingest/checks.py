"""What a single value must be; both the fast and the slow pass ask here, so they cannot disagree.

Every check returns the value in its final form or raises `Flaw`, in words for the caller. Values
that end up in a header may hold no line break, NUL or other control character, also not an encoded
one (``=?utf-8?q?=0A?=``, ``%0A``): some readers decode before they split (CVE-2024-6923).
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from datetime import datetime
from typing import Annotated

import msgspec

from postalynk.ingest.border import check_calendar_method, check_header, parse_mailbox
from postalynk.model import Attachment, Calendar, Mailbox

MAX_MAILBOXES = 50
MAX_SUBJECT = 998
MAX_NAME = 256
MAX_FILENAME = 255
MAX_HEADERS = 100
MAX_TAGS = 50
MAX_ATTACHMENTS = 100
MAX_URL = 900
MAX_CALENDAR = 1_000_000
MIN_EXPIRY_S = 3_600
MAX_EXPIRY_S = 31_536_000

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with an offset."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PERCENT_BREAK = re.compile(r"%0[0ad]", re.IGNORECASE)
_Q_BREAK = re.compile(r"=0[0ad]", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?([^?]*)", re.IGNORECASE)
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_CONTENT_ID = re.compile(r"[!#$%&'*+\-./0-9=?@A-Z^_`a-z{|}~]{1,128}")
_ATOM = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
_CONTENT_TYPE = re.compile(
    rf"(?!multipart/){_ATOM}/{_ATOM}"
    rf'([ \t]*;[ \t]*(?!name|boundary){_ATOM}=({_ATOM}|"[ !#-\[\]-~]*"))*[ \t]*',
    re.IGNORECASE,
)
# RFC 8058 section 3.1 asks for HTTPS; a bracket, a comma or a space would end the URI (RFC 2369).
_UNSUBSCRIBE = re.compile(r"https://[!#-+\--;=?-Z_a-z~\[\]]+")
_FEEDBACK = re.compile(r"([!-9;-~]*:){0,3}[!-9;-~]{5,15}")
_CALENDAR = re.compile(r"BEGIN:VCALENDAR\r?\n.*\r?\nEND:VCALENDAR\s*", re.IGNORECASE | re.DOTALL)
_METHOD = re.compile(
    r"^METHOD(?:;[^:\r\n]*)?:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_WHITE = re.compile(r"[ \t\r\n]+")
_TYPES = mimetypes.MimeTypes()  # the built-in table only: equal answers on every machine


class Flaw(ValueError):
    """Why a value is refused and what to do about it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def plain(text: str) -> str:
    """Text that UTF-8 can carry and that holds no NUL; line breaks are welcome."""
    if "\0" in text:
        raise Flaw("contains a NUL character", "remove it")
    if not text.isascii() and _SURROGATE.search(text):
        raise Flaw("contains a lone surrogate, which is no character", "send whole characters")
    return text


def line(text: str, limit: int) -> str:
    """Text for one header: at most ``limit`` characters, no control character even encoded."""
    if len(text) > limit:
        raise Flaw(f"has {len(text)} characters", f"use at most {limit}")
    if not text.isprintable():
        _refuse_control(text)
    return _no_encoded_break(text)


def _refuse_control(text: str) -> None:
    plain(text)
    if found := _CONTROL.search(text):
        raise Flaw(
            f"contains the control character U+{ord(found[0]):04X} at position {found.start()}",
            "remove it: a header is one line",
        )


def _no_encoded_break(text: str) -> str:
    if "=?" in text:
        _refuse_encoded_words(text)
    if "%0" in text and _PERCENT_BREAK.search(text):
        raise Flaw("contains an encoded line break or NUL", "remove it: a header is one line")
    return text


def _refuse_encoded_words(text: str) -> None:
    """Refuse encoded words (RFC 2047) that some reader could decode to a line break or NUL."""
    for charset, encoding, payload in _ENCODED_WORD.findall(text):
        if encoding in "qQ":
            hides = _Q_BREAK.search(payload) is not None
        else:
            digits = re.sub(r"[^A-Za-z0-9+/]", "", payload)
            digits = digits[: len(digits) - (len(digits) % 4 == 1)]
            raw = base64.b64decode(digits + "=" * (-len(digits) % 4))
            hides = any(octet in raw for octet in b"\r\n\0")
        if hides or "utf-7" in charset.lower():
            raise Flaw("hides a line break or NUL in an encoded word", "send plain Unicode text")


def mailbox(text: str) -> Mailbox:
    """``Name <a@b>`` or ``a@b``."""
    if len(text) > MAX_NAME + 320:
        raise Flaw(f"has {len(text)} characters", "use a name of at most 256 and one address")
    name, address = parse_mailbox(text)
    if name:
        line(name, MAX_NAME)
    return Mailbox(name, _no_encoded_break(address))


def mailboxes(value: str | list[str] | None) -> list[Mailbox]:
    """One or several mailboxes; of equal addresses the first stays."""
    if value is None:
        return []
    if isinstance(value, str):
        return [mailbox(value)]
    if len(value) <= 1:
        return [mailbox(text) for text in value]
    if len(value) > MAX_MAILBOXES:
        raise too_many(len(value), MAX_MAILBOXES)
    first: dict[str, Mailbox] = {}
    for text in value:
        box = mailbox(text)
        first.setdefault(box.address, box)
    return list(first.values())


def too_many(count: int, limit: int) -> Flaw:
    """A list that is too long."""
    return Flaw(f"has {count} entries", f"use at most {limit}")


def header(name: str, value: str) -> tuple[str, str]:
    """A custom header."""
    check_header(plain(name), plain(value))
    if not value.isprintable():
        _refuse_control(value.replace("\t", " "))
    if "=?" in value:
        _refuse_encoded_words(value)
    # Percent signs stay: List-Unsubscribe may well hold mailto:x@example.com?body=a%0Ab.
    return name, value


def tag(text: str) -> str:
    """A tag's name or value."""
    if not _TAG.fullmatch(text):
        raise Flaw("is no tag", "use 1 to 256 of the letters a-z and A-Z, the digits, - and _")
    return text


def instant_us(text: str) -> int:
    """RFC 3339 → microseconds since the Unix epoch."""
    try:
        return to_us(msgspec.convert(text, Instant))
    except msgspec.ValidationError as error:
        raise Flaw("is no RFC 3339 date and time", "write 2030-01-31T12:00:00Z") from error


def to_us(instant: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return round(instant.timestamp() * 1_000_000)


def in_future(at_us: int, now_us: int) -> int:
    """A moment that has not passed."""
    if at_us <= now_us:
        raise Flaw("is in the past", "give a moment that is still to come, or leave it out")
    return at_us


def before_expiry(scheduled_at_us: int, expires_at_us: int) -> int:
    """A time to send that comes before the message's end, if it has one (0: it has none)."""
    if expires_at_us and scheduled_at_us >= expires_at_us:
        raise Flaw("is not before expires_at", "let it expire later, or send it sooner")
    return scheduled_at_us


def content(value: str | list[int]) -> bytes:
    """Octets from base64 (line breaks and missing padding are forgiven) or a list of numbers."""
    try:
        if not isinstance(value, str):
            return bytes(value)
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except binascii.Error:
            digits = _WHITE.sub("", value).rstrip("=")
            return binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except (ValueError, OverflowError, TypeError) as error:
        raise Flaw("is not base64", "encode the file's octets as base64 (RFC 4648)") from error


def filename(text: str) -> str:
    """A file's name without a path."""
    line(text, MAX_FILENAME)
    octets = len(text.encode())
    if octets > MAX_FILENAME:
        raise Flaw(f"has {octets} octets", f"use at most {MAX_FILENAME}")
    if "/" in text or "\\" in text or text in {"", ".", ".."}:
        raise Flaw("is no plain file name", "give the name without a path")
    return text


def content_type(text: str) -> str:
    """A media type of a single part, with parameters other than name and boundary."""
    if len(text) > 200 or not _CONTENT_TYPE.fullmatch(text):
        raise Flaw("is no media type of a single part", "write it like application/pdf")
    return text


def guess_type(name: str) -> str:
    """The media type a file name suggests."""
    return _TYPES.guess_type(name)[0] or "application/octet-stream"


def content_id(text: str) -> str:
    """What ``cid:`` in the HTML refers to; angle brackets around it are dropped."""
    bare = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    if not _CONTENT_ID.fullmatch(bare):
        raise Flaw("is no content id", "use 1 to 128 letters, digits and signs such as . _ - @")
    return _no_encoded_break(bare)


def attachment(
    octets: bytes, name: str | None, media_type: str | None, cid: str | None
) -> Attachment:
    """A whole attachment of checked parts."""
    if name is None and cid is None:
        raise Flaw("has neither filename nor content_id", "give it a filename")
    file = "" if name is None else filename(name)
    kind = guess_type(file) if media_type is None else content_type(media_type)
    return Attachment(file, kind, octets, "" if cid is None else content_id(cid))


def unsubscribe(text: str) -> str:
    """A URL that unsubscribes by one POST (RFC 8058 section 3.1)."""
    line(text, MAX_URL)
    if not _UNSUBSCRIBE.fullmatch(text):
        raise Flaw("is no https URL", "give one that unsubscribes by POST, https://…")
    return text


def feedback_id(text: str) -> str:
    """Up to three identifiers and the sender's, between colons."""
    if not _FEEDBACK.fullmatch(line(text, 200)):
        raise Flaw(
            "is no feedback id",
            "write campaign:customer:kind:sender, the sender 5 to 15 characters, no spaces",
        )
    return text


def calendar(text: str, method: str | None) -> Calendar:
    """An iCalendar object (RFC 5545) with a method of RFC 5546, said once and alike."""
    if len(text) > MAX_CALENDAR:
        raise Flaw(f"has {len(text)} characters", f"use at most {MAX_CALENDAR}")
    if not _CALENDAR.fullmatch(plain(text).lstrip("\ufeff")):
        raise Flaw("is no iCalendar object", "send BEGIN:VCALENDAR to END:VCALENDAR (RFC 5545)")
    said = {found.upper() for found in _METHOD.findall(text)}
    if len(said) != 1:
        raise Flaw("has not one METHOD", "give it a line METHOD:REQUEST (RFC 5546)")
    (own,) = said
    calendar_method(own)
    if method is not None and method.upper() != own:
        raise Flaw(f"says METHOD:{own[:20]}", "give the same method, or leave it out (RFC 6047)")
    return Calendar(own, text)


def calendar_method(text: str) -> str:
    """A method of RFC 5546, in any case."""
    try:
        check_calendar_method(text.upper())
    except ValueError as error:
        raise Flaw("is no calendar method", "use REQUEST, CANCEL, PUBLISH, … (RFC 5546)") from error
    return text


def expiry_s(seconds: int) -> int:
    """How long a DKIM signature holds."""
    if not MIN_EXPIRY_S <= seconds <= MAX_EXPIRY_S:
        raise Flaw(
            "is no time for a signature to hold",
            f"use {MIN_EXPIRY_S} to {MAX_EXPIRY_S} seconds: mail waits in queues",
        )
    return seconds
