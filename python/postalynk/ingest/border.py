"""The one file of this room that calls the engine: codecs, ids, addresses, SMTP in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    from postalynk._engine import RecordBatch

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
    "holds_nul",
    "new_message_id",
    "parse_address",
    "parse_mailbox",
    "partition_of",
    "partitions_of",
]


def accepted_ids(batch: RecordBatch, wanted: Iterable[bytes]) -> Sequence[bytes]:
    """Which of the ``wanted`` message ids the ACCEPTED events of a batch name."""
    present = set(EventColumns(batch).messages()["id"])
    return [message_id for message_id in wanted if message_id in present]
