"""The one file of this room that calls the engine: codecs, ids, addresses, SMTP in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from postalynk._engine import (
    EventColumns,
    JudgedSubmissions,
    Submission,
    SubmissionBatch,
    SubmissionLogin,
    SubmissionRules,
    SubmittedMessage,
    Template,
    check_calendar_method,
    check_header,
    decode_accepted,
    encode_messages,
    holds_nul,
    new_message_id,
    parse_address,
    parse_mailbox,
    partition_of,
    partitions_of,
    routing_records,
)
from postalynk.queue.topics import EVENTS

if TYPE_CHECKING:
    from postalynk._engine import RecordBatch
    from postalynk.model import AcceptedMessage
    from postalynk.queue.protocol import Append

__all__ = [
    "JudgedSubmissions",
    "Submission",
    "SubmissionBatch",
    "SubmissionLogin",
    "SubmissionRules",
    "SubmittedMessage",
    "Template",
    "accepted_ids",
    "check_calendar_method",
    "check_header",
    "decode_accepted",
    "encode_messages",
    "halves",
    "holds_nul",
    "new_message_id",
    "parse_address",
    "parse_mailbox",
    "partition_of",
    "partitions_of",
    "record_ids",
]


def accepted_ids(batch: RecordBatch) -> dict[bytes, bool]:
    """The message ids that the ACCEPTED events of a batch name; True: for a time of its own."""
    columns = cast("dict[str, list[Any]]", EventColumns(batch).messages())
    return {
        id_: bool(due_at_us)
        for id_, due_at_us in zip(columns["id"], columns["scheduled_at_us"], strict=True)
    }


def record_ids(batch: RecordBatch) -> set[bytes]:
    """The message ids of a batch of ``email.send.*``."""
    return {uuid.UUID(record[0]).bytes for record in routing_records(batch)}


def halves(messages: Sequence[AcceptedMessage], partitions: int, *, is_event: bool) -> list[Append]:
    """Of messages the ACCEPTED events alone, or the records alone."""
    encoded = encode_messages(messages, partitions)
    return [append for append in encoded if (append[0] == EVENTS) is is_event]
