"""Sending again what is over: the same message, the same id, an attempt with the next number.

**Model.** Chosen deliveries get an event ``resent`` and a deferral that is due at once, in that
order and durable before anything goes; from there on they are as any other that waits. The event
opens what had ended, for the worker's done-set and for the audit: a second delivery is no double.
A crash between the two leaves an event without its deferral; asked again, such a one is sent.
**Held.** An attempt in doubt with no time for the next is where a delivery of an organization that
holds such ends; it is sent again only where it is asked for by that name. Those alone are
remembered then, so that all the log can be searched for them.
**Not chosen.** What is under way, waits, or is scheduled: it will go by itself. What retention has
dropped cannot go: its record is no longer there.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeAlias

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
HELD = "in_doubt"
CHUNK = 200


Last: TypeAlias = "dict[tuple[bytes, int], tuple[str, int]]"
"""By message id and recipient: how a delivery stands, and attempts made."""


class Chosen(msgspec.Struct, frozen=True):
    """Which deliveries, beside the stretch of time their messages were appended in."""

    message_ids: tuple[str, ...] = ()
    """Of these messages only; none: of any."""
    state: str | None = None
    """One of `OVER`, or `HELD`; None: any of `OVER`."""

    def is_state(self, state: str) -> bool:
        """Whether a delivery that stands so is meant."""
        return state in OVER if self.state is None else state == self.state


class Resent(msgspec.Struct, frozen=True):
    """What was sent again, or would be."""

    is_dry_run: bool
    deliveries: int
    messages: list[str]
    """The first hundred of them."""
    gone: int
    """Held ones whose record the log has no more."""


def resend(parts: Parts, which: Stretch, chosen: Chosen, *, is_dry_run: bool) -> Resent:
    """Send the chosen deliveries again; a dry run only counts them."""
    deliveries, gone, messages = 0, 0, dict[str, None]()
    for partition in range(parts.queue.partitions):
        pending: list[tuple[list[Append], bytes]] = []
        last = _last(parts.queue, partition, which, chosen)
        for record, id_, recipient, attempts in _meant(parts.queue, partition, which, chosen, last):
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
        gone += sum(chosen.state == state == HELD for state, _ in last.values())
    return Resent(is_dry_run, deliveries, list(messages), gone)


def _start(parts: Parts, partition: int, pending: list[tuple[list[Append], bytes]]) -> None:
    if not pending:
        return
    # One append: its events are durable before its deferrals.
    parts.queue.append([append for pair, _ in pending for append in pair])
    now_us = parts.clock()
    parts.engine.add_deferred(partition, [(deferral, now_us) for _, deferral in pending])


def _meant(
    queue: Queue, partition: int, which: Stretch, chosen: Chosen, last: Last
) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(record, message id, recipient, attempts made) of each chosen delivery, out of ``last``."""
    for topic in SEND_TOPICS if last else ():
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
                    is_meant = chosen.is_state(state)
                    if is_meant or _is_cut_short(queue, partition, state, key(id_, recipient)):
                        yield row[4], id_, recipient, attempts


def _is_cut_short(queue: Queue, partition: int, state: str, key: bytes) -> bool:
    """Whether a crash came between the event that a delivery is sent again and its deferral."""
    return state == "resent" and queue.get(DEFERRED, partition, [key]) == [None]


def key(id_: bytes, recipient: int) -> bytes:
    """Of a deferral: the message id, and the recipient's number in 4 bytes, big-endian."""
    return id_ + recipient.to_bytes(4, "big")


def _last(queue: Queue, partition: int, which: Stretch, chosen: Chosen) -> Last:
    """What the newest event says of each delivery that may be meant."""
    wanted = {uuid.UUID(message_id).bytes for message_id in chosen.message_ids}
    last: Last = {}
    codec = RecordCodec()
    names = ("message_id", "recipient", "kind", "attempt", "due_at_us", "org")
    for batch in stretch(queue, EVENTS, partition, time_us=which.from_us):
        columns = codec.decode(batch).events()
        for id_, recipient, kind, attempt, due_at_us, org in zip(
            *(columns[name] for name in names), strict=True
        ):
            if (wanted and id_ not in wanted) or which.org not in {None, org}:
                continue
            known, before = last.get((id_, recipient), ("", 0))
            state = "waits" if kind == HELD and due_at_us else kind
            if state == "waits" and known in {*OVER, HELD}:
                # It tells of a copy that another worker left, and what is over stays so.
                continue
            if chosen.state == HELD and state not in {HELD, "resent"}:
                last.pop((id_, recipient), None)
            else:
                last[id_, recipient] = (state, max(before, attempt))
    return last
