"""Dead letters: listing them and putting them back.

**Model.** ``email.dlq`` is an append topic, so nothing in it is ever changed. A letter that was
redriven is followed by a marker: a dead letter with the reason ``redriven`` whose origin is the
first letter's place. The marker and the record's return to its own topic are one atomic append, so
a crash redrives a letter wholly or not at all. The record goes back as the bytes it was, under the
same message id.
"""

import time

import msgspec

from postalynk.engine import decode_dead_letter, encode_dead_letter
from postalynk.queue.protocol import Append, Queue
from postalynk.service.accounting import read

TOPIC = "email.dlq"
REDRIVEN = "redriven"
# Deferrals belong to a compacted topic and are known by a key that a dead letter does not keep.
REDRIVABLE = ("email.send.high", "email.send.normal", "email.send.bulk", "email.events")


class Letter(msgspec.Struct, frozen=True):
    """A dead letter without the record in it."""

    at_us: int
    topic: str
    """Where it came from, with `source_partition` and `source_offset`."""
    source_partition: int
    source_offset: int
    reason: str
    detail: str
    message_id: str | None
    org: str
    partition: int
    """Its own place in ``email.dlq``, with `offset`."""
    offset: int
    size_bytes: int


class Redrive(msgspec.Struct, frozen=True):
    """What a redrive put back, or would."""

    is_dry_run: bool
    redriven: list[Letter]
    refused: list[Letter]
    """Letters whose topic keeps records by key: they cannot go back."""


def letters(queue: Queue, *, reason: str | None = None, org: str | None = None) -> list[Letter]:
    """The dead letters that were not redriven, oldest first."""
    return [letter for letter, _ in _waiting(queue, reason, org)]


def redrive(queue: Queue, *, reason: str | None, org: str | None, is_dry_run: bool) -> Redrive:
    """Put matching letters back where they came from; a dry run only says which."""
    chosen = _waiting(queue, reason, org)
    fit = [(letter, record) for letter, record in chosen if letter.topic in REDRIVABLE]
    refused = [letter for letter, _ in chosen if letter.topic not in REDRIVABLE]
    if not is_dry_run:
        now_us = time.time_ns() // 1_000
        for letter, record in fit:
            queue.append(_back(letter, record, now_us))
    return Redrive(is_dry_run, [letter for letter, _ in fit], refused)


def _back(letter: Letter, record: bytes, now_us: int) -> list[Append]:
    marker = encode_dead_letter(
        REDRIVEN, letter.reason, TOPIC, letter.partition, letter.offset, now_us, b""
    )
    return [
        (letter.topic, letter.source_partition, None, record),
        (TOPIC, letter.partition, None, marker),
    ]


def _waiting(queue: Queue, reason: str | None, org: str | None) -> list[tuple[Letter, bytes]]:
    found: dict[tuple[int, int], tuple[Letter, bytes]] = {}
    for batch in read(queue, (TOPIC,), {}):
        for _, partition, offset, at_us, value in batch.rows():
            shown = decode_dead_letter(value)
            record = shown.pop("record")
            assert isinstance(record, bytes)
            letter = msgspec.convert(
                {
                    **shown,
                    "partition": partition,
                    "offset": offset,
                    "at_us": at_us,
                    "size_bytes": len(record),
                },
                Letter,
            )
            if letter.reason == REDRIVEN and letter.topic == TOPIC:
                found.pop((letter.source_partition, letter.source_offset), None)
            else:
                found[partition, offset] = (letter, record)
    matching = [
        (letter, record)
        for letter, record in found.values()
        if reason in {None, letter.reason} and org in {None, letter.org}
    ]
    return sorted(matching, key=lambda pair: pair[0].at_us)
