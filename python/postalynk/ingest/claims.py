"""Claims of idempotency keys as they stand in the compacted topic ``email.idempotency``.

Key: SHA-256 of organization and key, so nothing a caller chose stands on disk. Value: a version
octet and msgpack. A claim stands in its organization's own
partition, wherever a salt spreads the messages.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from postalynk.ingest.border import accepted_ids, partitions_of, record_ids
from postalynk.ingest.receipt import Receipt
from postalynk.queue.topics import EVENTS, SEND_TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postalynk.queue.native import RecordBatch
    from postalynk.queue.protocol import Queue

TOPIC = "email.idempotency"
VERSION = 1
CLOCK_SLACK_US = 60_000_000
"""A clock set back by up to a minute between claim and append must not hide an event."""


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A key's one request: its hash and what it is given."""

    request: bytes
    """SHA-256 of route, mode and body."""
    at_us: int
    receipt: Receipt
    is_done: bool = False
    """The messages are known to be in the log; else only `stored_of` can tell."""
    salt: int = 1
    """Their organization's when they were claimed: it says in which partitions they can be, so a
    repetition accepts them by it, whatever it is by then."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claim).decode


def key_of(org: str, key: bytes) -> bytes:
    """The key of the compacted topic."""
    return hashlib.sha256(org.encode() + b"\0" + key).digest()


def encode(claim: Claim) -> bytes:
    """The value of the compacted topic."""
    return bytes([VERSION]) + _encode(claim)


def decode(value: bytes) -> Claim:
    """A value read back. Raises ValueError when a newer release wrote it, or it is broken."""
    if value[:1] != bytes([VERSION]):
        raise ValueError(f"a claim of version {value[:1].hex()}: upgrade this process")
    return _decode(value[1:])


class Stored(NamedTuple):
    """What the log holds of a claim's messages."""

    whole: frozenset[bytes] = frozenset()
    """Ids of which nothing is missing."""
    unannounced: frozenset[bytes] = frozenset()
    """Ids whose record is there and whose ACCEPTED event is not."""
    announced: frozenset[bytes] = frozenset()
    """The other way round."""


def stored_of(queue: Queue, org: str, claim: Claim) -> Stored:
    """What the log holds of a claim's messages, from the claim's time on.

    Record and event are looked for each by itself: on a cluster one of them may be stored and the
    other not, for their partitions have leaders of their own. A scheduled message has no record
    there, but its event is only written when it is durable.
    Blocks; needed only where a process died, or an append failed, between claim and mark.
    """
    wanted = set(claim.receipt.accepted())
    told: dict[bytes, bool] = {}
    held: set[bytes] = set()
    for partition in partitions_of(org, queue.partitions, claim.salt):
        for batch in _since(queue, EVENTS, partition, claim):
            told |= {id_: due for id_, due in accepted_ids(batch).items() if id_ in wanted}
            if len(told) == len(wanted):
                break
        for topic in SEND_TOPICS:
            for batch in _since(queue, topic, partition, claim):
                held |= wanted & record_ids(batch)
    whole = {id_ for id_, is_scheduled in told.items() if is_scheduled or id_ in held}
    return Stored(frozenset(whole), frozenset(held - told.keys()), frozenset(told.keys() - whole))


def _since(queue: Queue, topic: str, partition: int, claim: Claim) -> Iterator[RecordBatch]:
    end = queue.offsets(topic)[partition][1]
    consumer = queue.consumer("", [topic])
    try:
        consumer.pause([(topic, other) for other in range(queue.partitions) if other != partition])
        consumer.seek(topic, partition, time_us=max(0, claim.at_us - CLOCK_SLACK_US))
        position = 0
        while position < end:
            batch = consumer.poll(10_000, 8_000_000, 0)
            if not len(batch):
                break
            yield batch
            position = batch.next_offsets()[topic, partition]
    finally:
        consumer.close()
