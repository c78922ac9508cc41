r"""Composing messages: texts, addresses and files in, the bytes of an RFC 5322 message out.

    >>> from postalynk.mime import compose
    >>> message = compose(
    ...     from_="Example Shop <orders@shop.example.com>",
    ...     to=["Zoë <zoe@example.org>"],
    ...     subject="Your order is on its way",
    ...     text="Thank you.",
    ... )
    >>> message.bytes[:45]
    b'From: Example Shop <orders@shop.example.com>\r'

Useful without the rest of Postalynk, wherever ``email.message.EmailMessage`` is too slow or too
trusting. No value can become a header, a part or an address of its own: what could is refused. The
output has CRLF line ends, lines of at most 998 octets, headers folded at 78 (RFC 5322 section
2.1.1), the cheapest transfer encoding for each part (RFC 2045 section 6), encoded words (RFC 2047)
and RFC 2231 file names with an ASCII name beside them. Not here: Bcc, which is the envelope's, and
signing (`postalynk.dkim`).
"""

from __future__ import annotations

import builtins
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from postalynk._engine import mime_compose, new_message_id, parse_mailbox
from postalynk.errors import MessageError

__all__ = ["Attachment", "Calendar", "Composed", "MessageError", "compose"]

Mailboxes: TypeAlias = str | Sequence[str]
"""One mailbox, ``Name <local@domain>`` or ``local@domain``, or several."""

# RFC 8058 section 3.1 asks for HTTPS; a bracket, a comma or a space would end the URI (RFC 2369).
_UNSUBSCRIBE = re.compile(r"https://[^\s<>,]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file, or with a content id an inline part that the HTML names as ``cid:…`` (RFC 2392).

    `content`: any bytes. `filename`: Unicode, at most 255 octets of UTF-8; empty: none.
    `content_type`: ``type/subtype`` with parameters (RFC 2045 section 5.1); empty:
    ``application/octet-stream``. `content_id`: without angle brackets; empty: none.
    """

    content: bytes
    filename: str = ""
    content_type: str = ""
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Calendar:
    """An iCalendar object (RFC 5545) and its method (RFC 5546: ``REQUEST``, ``CANCEL``, …).

    It stands beside text and HTML as a further way to read the message (RFC 6047 section 2.4), so
    that mail programs show an invitation and not a file.
    """

    object: str
    method: str = "REQUEST"


@dataclass(frozen=True, slots=True)
class Composed:
    """A message as it goes over the wire, before dot-stuffing (RFC 5321 section 4.5.2).

    `bytes`: header fields, an empty line, the body. `header_size`: octets of the header fields
    without the empty line. `needs_smtputf8`: a header has an address whose local part is not ASCII,
    so that only a receiver with SMTPUTF8 can take the message (RFC 6531).
    """

    bytes: bytes
    header_size: int
    needs_smtputf8: bool

    def __bytes__(self) -> builtins.bytes:
        return self.bytes


def compose(
    *,
    from_: str,
    to: Mailboxes = (),
    cc: Mailboxes = (),
    reply_to: Mailboxes = (),
    subject: str = "",
    text: str | None = None,
    html: str | None = None,
    auto_text: bool = True,
    calendar: Calendar | None = None,
    attachments: Sequence[Attachment] = (),
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    list_unsubscribe: str | None = None,
    feedback_id: str | None = None,
    date: datetime | None = None,
    message_id: str | None = None,
    seed: int | None = None,
) -> Composed:
    """Write a message. Lets the GIL go; about twenty microseconds for 10 kB.

    - ``from_``, ``to``, ``cc``, ``reply_to``: mailboxes (RFC 5322 section 3.4). Domains become
      A-labels (RFC 5890); a local part that is not ASCII sets `Composed.needs_smtputf8`.
    - ``subject``, display names: Unicode on one line, at most 16,384 octets.
    - ``text``, ``html``: Unicode; any of LF, CRLF and CR ends a line. With neither, nor a calendar
      nor attachments, the body is empty.
    - ``auto_text``: HTML without a text gets a plain-text part made from it (at most 2 MiB),
      for those who read mail without HTML.
    - ``headers``: further headers in the order given. Those the message has parameters for, and
      those only a relay or a receiver may write, are refused.
    - ``list_unsubscribe``: an ``https:`` URL that unsubscribes by one POST; writes
      List-Unsubscribe and List-Unsubscribe-Post (RFC 8058 section 3.1). Sign both.
    - ``feedback_id``: ``a:b:c:sender`` for the complaint statistics of Gmail and others.
    - ``date``: an aware datetime, to the second; default: now.
    - ``message_id``: ``left@right`` without angle brackets; default: a UUIDv7 (RFC 9562) at the
      author's domain.
    - ``seed``: 64 bits that boundaries are drawn from; default: from the message id. Equal
      arguments with a date and a message id give equal bytes.

    Raises MessageError, a ValueError whose text begins with the field and gives the reason:
    ``to[0]: has no @``.
    """
    now_s = time.time()
    date_s = now_s if date is None else _seconds(date)
    if message_id is None:
        message_id = _new_message_id(from_, int(now_s * 1000))
    if seed is None:
        seed = int.from_bytes(hashlib.blake2b(message_id.encode(), digest_size=8).digest())
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if list_unsubscribe is not None:
        if not _UNSUBSCRIBE.fullmatch(list_unsubscribe):
            raise MessageError("list_unsubscribe: is not an https URL (RFC 8058 section 3.1)")
        pairs.append(("List-Unsubscribe", f"<{list_unsubscribe}>"))
        pairs.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    if feedback_id is not None:
        pairs.append(("Feedback-ID", feedback_id))
    written = mime_compose(
        from_=from_,
        to=_listed(to),
        cc=_listed(cc),
        reply_to=_listed(reply_to),
        subject=subject,
        text=text,
        html=html,
        calendar=None if calendar is None else (calendar.method, calendar.object),
        headers=pairs,
        attachments=[(a.filename, a.content_type, a.content_id, a.content) for a in attachments],
        auto_text=auto_text,
        message_id=message_id,
        date_s=int(date_s),
        seed=seed,
    )
    return Composed(*written)


def _listed(mailboxes: Mailboxes) -> Sequence[str]:
    return [mailboxes] if isinstance(mailboxes, str) else mailboxes


def _seconds(date: datetime) -> float:
    if date.tzinfo is None or (seconds := date.timestamp()) < 0:
        raise MessageError("date: is not an instant after 1970 with a time zone")
    return seconds


def _new_message_id(from_: str, now_ms: int) -> str:
    try:
        domain = parse_mailbox(from_)[1].rpartition("@")[2]
    except ValueError as error:
        raise MessageError(f"from: {error}") from error
    h = new_message_id(now_ms).hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}@{domain}"
