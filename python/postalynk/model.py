"""The vocabulary as types: what accept makes, what the queue carries, what a projection shows."""

from typing import Literal, NewType

import msgspec

OrgId = NewType("OrgId", str)
"""``org_`` and 20 characters; the tenant and the sharding key."""

Lane = Literal["high", "normal", "bulk"]
"""Priority class; each has its own topic."""

State = Literal[
    "scheduled",
    "queued",
    "deferred",
    "delivered",
    "bounced",
    "expired",
    "suppressed",
    "cancelled",
    "dead_lettered",
    "in_doubt",
]
"""Where a delivery stands; every one but scheduled, queued, deferred and in_doubt is
final."""

InDoubt = Literal["retry", "hold", "assume_delivered"]
"""What an organization wants done with an attempt whose end nobody knows (G2)."""


class Mailbox(msgspec.Struct, frozen=True):
    """A display name (may be empty) and an address whose domain is an A-label."""

    name: str
    address: str


class Attachment(msgspec.Struct, frozen=True):
    """A decoded attachment; with a `content_id` it is shown inline."""

    filename: str
    content_type: str
    content: bytes
    content_id: str = ""


class Calendar(msgspec.Struct, frozen=True):
    """An iCalendar object (RFC 5545) and its method (RFC 5546)."""

    method: str
    object: str


class Filling(msgspec.Struct, frozen=True):
    """A stored template as it was at acceptance, and what it is filled with.

    `subject`, `html` and `text` are sources, empty where the template has no such part (or the
    message brought its own subject). `variables` is a JSON object. `size_bytes` is of what came out
    when accept rendered it.
    """

    id: str
    version: int
    subject: str
    html: str
    text: str
    variables: bytes
    size_bytes: int


class AcceptedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A validated message, as `postalynk._engine.encode_messages` wants it.

    Times are microseconds since the Unix epoch. `recipients` is the envelope: to, cc and bcc
    without duplicates, in that order. With `raw` the fields of the content are shown, not sent.
    """

    id: bytes
    org: str
    accepted_at_us: int
    expires_at_us: int
    lane: Lane
    reverse_path: str
    recipients: list[str]
    from_: Mailbox
    to: list[Mailbox]
    cc: list[Mailbox]
    bcc: list[Mailbox]
    reply_to: list[Mailbox]
    subject: str
    text: str
    html: str
    headers: list[tuple[str, str]]
    attachments: list[Attachment]
    tags: list[tuple[str, str]]
    message_id: str
    dkim_domain: str
    plan: str
    in_doubt: InDoubt
    no_plain_text: bool = False
    """HTML without text stays without."""
    calendar: Calendar | None = None
    template: Filling | None = None
    """Set: `html` and `text` are empty, and a `subject` the template has is only shown."""
    list_unsubscribe: str = ""
    feedback_id: str = ""
    dkim_expires_s: int = 0
    scheduled_at_us: int = 0
    """Not to be sent before; 0: at once."""
    require_tls: bool = False
    """REQUIRETLS (RFC 8689): authenticated TLS all the way, or a bounce."""
    tls_optional: bool = False
    """``TLS-Required: No`` (RFC 8689): what the recipient's domain demands of TLS counts not."""
    raw: bytes = b""
    """A whole RFC 5322 message with CRLF line ends; empty: it is composed of the fields above."""
    ret: str = ""
    """RET of RFC 3461: ``FULL``, ``HDRS`` or nothing."""
    envelope_id: str = ""
    """ENVID, in xtext."""
    notify: list[str] = []
    """NOTIFY of each recipient, in their order, empty where nothing was asked for; or no entry."""
    orcpt: list[str] = []
    """ORCPT of each recipient, likewise."""
    salt: int = 1
    """Over how many slots its organization is spread; the first recipient says in which it is."""
