"""Claims of idempotency keys as they stand in the compacted topic ``email.idempotency``.

Key: SHA-256 of organization and key, so nothing a caller chose stands on disk. Value: a version
octet and msgpack. A claim stands in its organization's own
partition, wherever a salt spreads the messages.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from postalynk.ingest.border import accepted_ids, partitions_of
from postalynk.ingest.receipt import Receipt

if TYPE_CHECKING:
    from postalynk.queue.protocol import Queue

TOPIC = "email.idempotency"
EVENTS = "email.events"
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
    """The messages are known to be in the log; else only `accepted_of` can tell."""
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


def accepted_of(queue: Queue, org: str, claim: Claim) -> set[bytes]:
    """Which messages of a claim are in the log: reads ``email.events`` from the claim's time on.

    Blocks; needed only where a process died, or an append failed, between claim and mark.
    """
    wanted = set(claim.receipt.accepted())
    found: set[bytes] = set()
    for partition in partitions_of(org, queue.partitions, claim.salt):
        if found != wanted:
            found |= _accepted_in(queue, partition, claim, wanted - found)
    return found


def _accepted_in(queue: Queue, partition: int, claim: Claim, wanted: set[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    end = queue.offsets(EVENTS)[partition][1]
    consumer = queue.consumer("", [EVENTS])
    try:
        consumer.pause([(EVENTS, other) for other in range(queue.partitions) if other != partition])
        consumer.seek(EVENTS, partition, time_us=max(0, claim.at_us - CLOCK_SLACK_US))
        position = 0
        while position < end and found != wanted:
            batch = consumer.poll(10_000, 8_000_000, 0)
            if not len(batch):
                break
            found.update(accepted_ids(batch, wanted - found))
            position = batch.next_offsets()[EVENTS, partition]
    finally:
        consumer.close()
    return found
