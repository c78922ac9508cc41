"""Sending again what is over: the same message, the same id, an attempt with the next number.

**Model.** Chosen deliveries get an event ``resent`` and a deferral that is due at once, in that
order and durable before anything goes; from there on they are as any other that waits. The event
opens what had ended, for the worker's done-set and for the audit: a second delivery is no double.
A crash between the two leaves an event without its deferral; asked again, such a one is sent.
**Not chosen.** What is under way, waits, or is scheduled: it will go by itself. What retention has
dropped cannot go: its record is no longer there.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from postalynk.control.border import routing_records
from postalynk.engine import encode_deferral, encode_event
from postalynk.queue.reading import stretch
from postalynk.queue.topics import DEFERRED, EVENTS, SEND_TOPICS
from postalynk.recorder.codec import RecordCodec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postalynk.queue.protocol import Append, Queue
    from postalynk.service.projecting import Stretch
    from postalynk.worker.parts import Parts

OVER = ("delivered", "bounced", "expired", "suppressed", "cancelled", "dead_lettered")
CHUNK = 200


class Chosen(msgspec.Struct, frozen=True):
    """Which deliveries, beside the stretch of time their messages were appended in."""

    message_id: str | None = None
    state: str | None = None
    """One of `OVER`; None: any of them."""


class Resent(msgspec.Struct, frozen=True):
    """What was sent again, or would be."""

    is_dry_run: bool
    deliveries: int
    messages: list[str]
    """The first hundred of them."""


def resend(parts: Parts, which: Stretch, chosen: Chosen, *, is_dry_run: bool) -> Resent:
    """Send the chosen deliveries again; a dry run only counts them."""
    deliveries, messages = 0, dict[str, None]()
    for partition in range(parts.queue.partitions):
        pending: list[tuple[list[Append], bytes]] = []
        for record, id_, recipient, attempts in _meant(parts.queue, partition, which, chosen):
            deliveries += 1
            if len(messages) < 100:
                messages[str(uuid.UUID(bytes=id_))] = None
            if is_dry_run:
                continue
            now_us = parts.clock()
            said = "sent again by the operator"
            event = encode_event(record, "resent", now_us, recipient, attempts, now_us, said)
            deferral = encode_deferral(record, recipient, attempts, now_us)
            pair: list[Append] = [
                (EVENTS, partition, None, event),
                (DEFERRED, partition, key(id_, recipient), deferral),
            ]
            pending.append((pair, key(id_, recipient)))
            if len(pending) == CHUNK:
                _start(parts, partition, pending)
                pending = []
        _start(parts, partition, pending)
    return Resent(is_dry_run, deliveries, list(messages))


def _start(parts: Parts, partition: int, pending: list[tuple[list[Append], bytes]]) -> None:
    if not pending:
        return
    # One append: its events are durable before its deferrals.
    parts.queue.append([append for pair, _ in pending for append in pair])
    now_us = parts.clock()
    parts.engine.add_deferred(partition, [(deferral, now_us) for _, deferral in pending])


def _meant(
    queue: Queue, partition: int, which: Stretch, chosen: Chosen
) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(record, message id, recipient, attempts made) of each chosen delivery."""
    wanted = None if chosen.message_id is None else uuid.UUID(chosen.message_id).bytes
    last = _last(queue, partition, which.from_us, wanted)
    for topic in SEND_TOPICS:
        for batch in stretch(queue, topic, partition, time_us=which.from_us):
            for row in batch.rows():
                if not which.from_us <= row[3] < which.to_us:
                    continue
                (told,) = routing_records([row]) or (None,)
                if told is None or which.org not in {None, told[1]}:
                    continue
                id_ = uuid.UUID(told[0]).bytes
                for recipient in range(len(told[6])):
                    # Popped: a record that stands twice in the log is sent again once.
                    state, attempts = last.pop((id_, recipient), ("", 0))
                    is_meant = state in OVER and chosen.state in {None, state}
                    if is_meant or _is_cut_short(queue, partition, state, key(id_, recipient)):
                        yield row[4], id_, recipient, attempts


def _is_cut_short(queue: Queue, partition: int, state: str, key: bytes) -> bool:
    """Whether a crash came between the event that a delivery is sent again and its deferral."""
    return state == "resent" and queue.get(DEFERRED, partition, [key]) == [None]


def key(id_: bytes, recipient: int) -> bytes:
    """Of a deferral: the message id, and the recipient's number in 4 bytes, big-endian."""
    return id_ + recipient.to_bytes(4, "big")


def _last(
    queue: Queue, partition: int, since_us: int, wanted: bytes | None
) -> dict[tuple[bytes, int], tuple[str, int]]:
    """What the newest event says of each delivery: kind and attempts."""
    last: dict[tuple[bytes, int], tuple[str, int]] = {}
    codec = RecordCodec()
    for batch in stretch(queue, EVENTS, partition, time_us=since_us):
        columns = codec.decode(batch).events()
        names = ("message_id", "recipient", "kind", "attempt")
        for id_, recipient, kind, attempt in zip(*(columns[n] for n in names), strict=True):
            if wanted in {None, id_}:
                _, before = last.get((id_, recipient), ("", 0))
                last[id_, recipient] = (kind, max(before, attempt))
    return last
