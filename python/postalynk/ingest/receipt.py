"""What a request was given: its ids and its refused entries; the answer follows from it alone."""

from __future__ import annotations

import msgspec

from postalynk.ingest.answers import Answer, success
from postalynk.ingest.compose import uuid_text

ID_BYTES = 16


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """Equal receipts give equal answers, octet for octet."""

    ids: bytes
    """One UUIDv7 of 16 octets per entry, refused entries included, in order."""
    errors: dict[int, bytes] = {}
    """Entry → the JSON object of its refusal; only in a batch."""
    is_batch: bool = False

    def message_ids(self) -> list[bytes]:
        """The ids of all entries, in order."""
        return [self.ids[at : at + ID_BYTES] for at in range(0, len(self.ids), ID_BYTES)]

    def accepted(self) -> list[bytes]:
        """The ids of the entries that are not refused."""
        return [raw for index, raw in enumerate(self.message_ids()) if index not in self.errors]

    def answer(self) -> Answer:
        """``{"id": …}``, or ``{"data": [{"id": …} | {"error": {…}}]}`` with Resend's ``errors``."""
        if not self.is_batch:
            return success(b'{"id":"%b"}' % uuid_text(self.ids).encode())
        entries = [
            b'{"error":%b}' % self.errors[index]
            if index in self.errors
            else b'{"id":"%b"}' % uuid_text(raw).encode()
            for index, raw in enumerate(self.message_ids())
        ]
        data = b",".join(entries)
        if not self.errors:
            return success(b'{"data":[%b]}' % data)
        errors = [
            {"index": index, "message": msgspec.json.decode(raw)["message"]}
            for index, raw in self.errors.items()
        ]
        return success(b'{"data":[%b],"errors":%b}' % (data, msgspec.json.encode(errors)))
