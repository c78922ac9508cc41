"""The messages accepted a moment ago, which the projection may not have yet.

A bounded ring: it closes the gap between 202 and the projection, and answers for the newest
messages while PostgreSQL is down. It keeps what a projection shows, never a body.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from postalynk.ingest.border import decode_accepted
from postalynk.ingest.compose import uuid_text

if TYPE_CHECKING:
    from postalynk.model import AcceptedMessage, Mailbox

CAPACITY = 20_000
"""Messages: some seconds at the design's peak, about 30 MB."""

Lists = tuple[list["Mailbox"], list["Mailbox"], list["Mailbox"], list["Mailbox"]]
Parts = tuple[str, int, "Mailbox", Lists, str, list[tuple[str, str]], list[str], str, str, int]
Entry = Parts | bytes
"""What a message came as: its parts, or its ACCEPTED event, which is read once somebody asks."""


class Recent:
    """Message id → what was accepted; the oldest goes first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def add(self, messages: Sequence[AcceptedMessage]) -> None:
        """Remember messages that are durable."""
        entries = self._entries
        for m in messages:
            lists = (m.to, m.cc, m.bcc, m.reply_to)
            entry = (
                *(m.org, m.accepted_at_us, m.from_, lists, m.subject, m.tags, m.recipients),
                *(m.lane, m.message_id, m.scheduled_at_us),
            )
            entries[m.id] = entry
        self._shrink()

    def add_encoded(self, accepted: Iterable[tuple[bytes, bytes]]) -> None:
        """Remember messages that are durable by id and ACCEPTED event; from any thread."""
        self._entries.update(accepted)
        self._shrink()

    def _shrink(self) -> None:
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def message(self, org: str, id_: bytes) -> dict[str, Any] | None:
        """The object of ``GET /emails/{id}``, still queued; None when unknown or foreign."""
        said = self._said(id_)
        if said is None or said["org"] != org:
            return None
        due = said["due_at_us"]
        state = "scheduled" if due else "queued"
        return {
            "object": "email",
            "id": uuid_text(id_),
            "from": said["from"],
            "to": said["to"],
            "cc": said["cc"],
            "bcc": said["bcc"],
            "reply_to": said["reply_to"],
            "subject": said["subject"],
            "created_at": _time(said["at_us"]),
            "scheduled_at": _time(due) if due else None,
            "last_event": state,
            "tags": [{"name": name, "value": value} for name, value in said["tags"]],
            "priority": said["lane"],
            "message_id": said["message_id"],
            "deliveries": [
                {"recipient": index, "address": address, "state": state, "attempts": 0}
                for index, address in enumerate(said["recipients"])
            ],
        }

    def _said(self, id_: bytes) -> dict[str, Any] | None:
        """What the ACCEPTED event of a message says, in the form of `decode_accepted`."""
        entry = self._entries.get(id_)
        if entry is None or isinstance(entry, bytes):
            return None if entry is None else decode_accepted(entry)
        org, at_us, sender, lists, subject, tags, recipients, lane, message_id, due = entry
        to, cc, bcc, reply_to = ([shown(m) for m in boxes] for boxes in lists)
        return {
            "org": org,
            "at_us": at_us,
            "lane": lane,
            "due_at_us": due,
            "from": shown(sender),
            "to": to,
            "cc": cc,
            "bcc": bcc,
            "reply_to": reply_to,
            "subject": subject,
            "tags": tags,
            "recipients": recipients,
            "message_id": message_id,
        }

    def events(self, org: str, id_: bytes) -> list[dict[str, Any]] | None:
        """The acceptance, the one event known here; None when unknown or foreign."""
        said = self._said(id_)
        if said is None or said["org"] != org:
            return None
        return [{"object": "event", "type": "accepted", "created_at": _time(said["at_us"])}]


def shown(mailbox: Mailbox) -> str:
    """``Name <a@b>``, or the address alone."""
    return f"{mailbox.name} <{mailbox.address}>" if mailbox.name else mailbox.address


def _time(at_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat()
