"""The request as msgspec decodes it: Resend's shape, types only; `checks` judges the values."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from postalynk.ingest.checks import Instant

MAX_BATCH = 1000

UNAVAILABLE = {
    "topic_id": "topics are not available yet",
    "path": "fetching attachments from a URL is not available",
}
"""Fields of Resend's API that this release refuses by name instead of ignoring them."""


class AttachmentRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One entry of ``attachments``."""

    content: str | list[int]
    filename: str | None = None
    content_type: str | None = None
    content_id: str | None = None
    inline_content_id: str | None = None
    """An older name of ``content_id``."""


class TagRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One entry of ``tags``."""

    name: str
    value: str


class CalendarRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``calendar``: an iCalendar object; its method is said in it, and may be said beside it."""

    object: str
    method: str | None = None


class TemplateRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``template``: a stored template and what to fill it with."""

    id: str
    variables: dict[str, Any] | None = None


class EmailRequest(
    msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}, kw_only=True, gc=False
):
    """The body of ``POST /emails`` and one entry of ``POST /emails/batch``; null means absent."""

    to: str | list[str]
    from_: str | None = None
    """Needed, unless the template has one; so is the subject."""
    subject: str | None = None
    cc: str | list[str] | None = None
    bcc: str | list[str] | None = None
    reply_to: str | list[str] | None = None
    html: str | None = None
    text: str | None = None
    headers: dict[str, str] | None = None
    attachments: list[AttachmentRequest] | None = None
    tags: list[TagRequest] | None = None
    priority: Literal["high", "normal", "bulk"] | None = None
    expires_at: Instant | None = None
    scheduled_at: Instant | None = None
    """When to send it; Resend also takes words such as "in 1 hour", which are refused here."""
    template: TemplateRequest | None = None
    auto_text: bool | None = None
    """False: HTML alone gets no plain-text part; nor with an empty text, as in Resend."""
    calendar: CalendarRequest | None = None
    list_unsubscribe: str | None = None
    feedback_id: str | None = None
    dkim_expires_s: int | None = None
    require_tls: bool | None = None
    topic_id: Any = None


decode_one = msgspec.json.Decoder(EmailRequest).decode
decode_batch = msgspec.json.Decoder(list[EmailRequest]).decode
