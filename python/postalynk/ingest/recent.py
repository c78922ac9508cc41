"""The messages accepted a moment ago, which the projection may not have yet.

A bounded ring: it closes the gap between 202 and the projection, and answers for the newest
messages while PostgreSQL is down. It keeps what a projection shows, never a body.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postalynk.model import AcceptedMessage, Mailbox

CAPACITY = 20_000
"""Messages: some seconds at the design's peak, about 30 MB."""

Lists = tuple[list["Mailbox"], list["Mailbox"], list["Mailbox"], list["Mailbox"]]
Entry = tuple[str, int, "Mailbox", Lists, str, list[tuple[str, str]], list[str]]


class Recent:
    """Message id → what was accepted; the oldest goes first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def add(self, messages: Sequence[AcceptedMessage]) -> None:
        """Remember messages that are durable."""
        entries = self._entries
        for m in messages:
            lists = (m.to, m.cc, m.bcc, m.reply_to)
            entry = (m.org, m.accepted_at_us, m.from_, lists, m.subject, m.tags, m.recipients)
            entries[m.message_id[:36]] = entry
        while len(entries) > self._capacity:
            entries.popitem(last=False)

    def message(self, org: str, message_id: str) -> dict[str, Any] | None:
        """The object of ``GET /emails/{id}``, still queued; None when unknown or foreign."""
        entry = self._entries.get(message_id)
        if entry is None or entry[0] != org:
            return None
        _, at_us, sender, (to, cc, bcc, reply_to), subject, tags, recipients = entry
        return {
            "object": "email",
            "id": message_id,
            "from": shown(sender),
            "to": [shown(m) for m in to],
            "cc": [shown(m) for m in cc],
            "bcc": [shown(m) for m in bcc],
            "reply_to": [shown(m) for m in reply_to],
            "subject": subject,
            "created_at": _time(at_us),
            "last_event": "queued",
            "tags": [{"name": name, "value": value} for name, value in tags],
            "deliveries": [{"recipient": address, "state": "queued"} for address in recipients],
        }

    def knows(self, org: str, message_id: str) -> bool:
        """Whether the organization's message is among them."""
        entry = self._entries.get(message_id)
        return entry is not None and entry[0] == org


def shown(mailbox: Mailbox) -> str:
    """``Name <a@b>``, or the address alone."""
    return f"{mailbox.name} <{mailbox.address}>" if mailbox.name else mailbox.address


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat().replace("+00:00", "Z")
