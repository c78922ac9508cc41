"""Messages to be sent at a later time: ``email.scheduled`` and when each entry is due.

**Model.** An entry's key is the message id, its value the whole record for ``email.send.*`` and the
time. Here are the times, some hundred bytes each; the records stay in the queue. What is due is
appended to its lane under the same message id and then removed. Moving and cancelling change the
entry and say so in ``email.events``.
**Order.** Accept makes an entry durable before its ACCEPTED event, so an event never speaks of a
message that nothing holds. A due record is durable before its entry is removed, an event before the
change it tells of.
**Crash.** Between record and removal a message stands in both places. `restore` therefore looks for
due entries in the lanes, from the low-water marks on, and for any entry in the newest events and in
those since it was due: what is found there was moved, or cancelled, and only its entry goes.
**One owner.** All changes of a process go through one lock, so a cancel that answers yes is never
overtaken by the due time. Another process may change the topic too: an entry is read again when it
is due, and what has gone or moved by then is left.
**Not here.** Which messages an operator means (`service.waiting`), HTTP (`ingest.schedule`).
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, NamedTuple

from postalynk.control.border import (
    EventColumns,
    Timers,
    encode_event,
    encode_scheduled,
    partition_of,
    routing_records,
    waiting,
)
from postalynk.queue.reading import stretch
from postalynk.queue.topics import EVENTS, SCHEDULED, SEND_TOPICS, WORKER_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from postalynk.model import AcceptedMessage
    from postalynk.queue.protocol import Append, Queue

MAX_DUE = 500
PAGE = 500
# A cancel under way at a crash is among the last events there are.
RECENT_EVENTS = 1_000
# The clock of whoever appended may have been behind ours.
SLACK_US = 60_000_000


class Entry(NamedTuple):
    """What stands in ``email.scheduled``, or ``email.deferred``, about one message."""

    message_id: bytes
    org: str
    lane: str
    tags: list[tuple[str, str]]
    recipients: list[tuple[int, str]]
    """(index, address)."""
    site: str
    """Of a deferral: where the last attempt went."""
    attempt: int
    """Of a deferral: attempts made."""
    due_at_us: int
    record: bytes


class Bad(NamedTuple):
    """An entry that cannot be decoded."""

    partition: int
    key: bytes
    value: bytes


def entries_of(topic: str, values: Sequence[bytes]) -> list[Entry | None]:
    """Values of ``email.scheduled`` or ``email.deferred``; None for what cannot be decoded."""
    return [None if found is None else Entry(*found) for found in waiting(topic, values)]


class Schedule:
    """The schedule of the partitions of one process; every method may be called by any thread."""

    def __init__(self, queue: Queue, clock: Callable[[], int]) -> None:
        """``clock`` gives microseconds since the Unix epoch."""
        self._queue = queue
        self._clock = clock
        self._timers = Timers()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Messages that wait for their time."""
        return len(self._timers)

    def accepted(self, messages: Iterable[AcceptedMessage]) -> None:
        """These are durable; those of them that are scheduled get their times."""
        for message in messages:
            if message.scheduled_at_us:
                partition = partition_of(
                    message.org,
                    self._queue.partitions,
                    salt=message.salt,
                    first_recipient=message.recipients[0],
                )
                self._timers.set(partition, message.id, message.scheduled_at_us)

    def once(self) -> tuple[int, list[Bad]]:
        """Move what is due into its lane; how many entries were looked at, and which are bad.

        A bad entry stays until the caller has made a dead letter of it and removes it.
        """
        looked, bad = 0, []
        for partition, keys in self._timers.due(self._clock(), MAX_DUE):
            looked += len(keys)
            with self._lock:
                bad += self._move_due(partition, keys)
        return looked, bad

    def move(self, org: str, message_id: bytes, due_at_us: int, reason: str = "") -> bool:
        """Give a message another time; False when it is not scheduled (any more)."""
        with self._lock:
            found = self._find(org, message_id)
            if found is None:
                return False
            partition, entry = found
            events = self._events(entry, partition, "scheduled", reason, due_at_us)
            value = encode_scheduled(entry.record, due_at_us)
            self._queue.append([*events, (SCHEDULED, partition, message_id, value)])
            self._timers.set(partition, message_id, due_at_us)
            return True

    def cancel(self, org: str, message_id: bytes, reason: str = "") -> bool:
        """Take a message back; False when it is not scheduled (any more)."""
        with self._lock:
            found = self._find(org, message_id)
            if found is None:
                return False
            partition, entry = found
            events = self._events(entry, partition, "cancelled", reason)
            self._queue.append([*events, (SCHEDULED, partition, message_id, None)])
            self._timers.remove(message_id)
            return True

    def revived(self, partition: int, message_id: bytes) -> None:
        """An entry came back from the dead letters: it is read again at once."""
        if len(message_id) == 16:
            self._timers.set(partition, message_id, 0)

    def forget(self, partition: int) -> None:
        """Others look after this partition from now on."""
        self._timers.forget(partition)

    def restore(self, partition: int) -> int:
        """Load a partition's times and finish what a crash interrupted; how many wait.

        To be called before anything of the partition is consumed.
        """
        now_us = self._clock()
        times: dict[bytes, int] = {}
        after: bytes | None = None
        while pairs := self._queue.compacted(SCHEDULED, partition, after, PAGE):
            entries = entries_of(SCHEDULED, [value for _, value in pairs])
            for (key, _), entry in zip(pairs, entries, strict=True):
                # What cannot be decoded is due at once, to become a dead letter.
                times[key] = entry.due_at_us if entry is not None else 0
            after = pairs[-1][0]
        due = {key: at_us for key, at_us in times.items() if 0 < at_us <= now_us}
        over = self._told(partition, min(due.values(), default=now_us)) if times else set()
        if due:
            over |= self._in_lanes(partition)
        gone: list[Append] = [(SCHEDULED, partition, key, None) for key in times.keys() & over]
        if gone:
            self._queue.append(gone)
        for key in times.keys() - over:
            if len(key) == 16:
                self._timers.set(partition, key, times[key])
        return len(times) - len(gone)

    def _move_due(self, partition: int, keys: Sequence[bytes]) -> list[Bad]:
        now_us = self._clock()
        bad: list[Bad] = []
        records: list[Append] = []
        gone: list[Append] = []
        values = self._queue.get(SCHEDULED, partition, keys)
        kept = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
        found = entries_of(SCHEDULED, [value for _, value in kept])
        later: dict[bytes, int] = {}
        for (key, value), entry in zip(kept, found, strict=True):
            if entry is None:
                bad.append(Bad(partition, key, value))
            elif entry.due_at_us > now_us:
                later[key] = entry.due_at_us  # another process moved it
            else:
                records.append((f"email.send.{entry.lane}", partition, None, entry.record))
                gone.append((SCHEDULED, partition, key, None))
        if records:
            self._queue.append([*records, *gone])
        for key in keys:
            if key in later:
                self._timers.set(partition, key, later[key])
            else:
                self._timers.remove(key)
        return bad

    def _find(self, org: str, message_id: bytes) -> tuple[int, Entry] | None:
        """Where an organization's message waits. A salted organization has several partitions."""
        own = partition_of(org, self._queue.partitions)
        others = (n for n in range(self._queue.partitions) if n != own)
        for partition in (own, *others):
            value = self._queue.get(SCHEDULED, partition, [message_id])[0]
            if value is not None:
                entry = entries_of(SCHEDULED, [value])[0]
                return (partition, entry) if entry is not None and entry.org == org else None
        return None

    def _events(
        self, entry: Entry, partition: int, kind: str, reason: str, due_at_us: int = 0
    ) -> list[Append]:
        now_us = self._clock()
        return [
            (
                EVENTS,
                partition,
                None,
                encode_event(entry.record, kind, now_us, index, 0, due_at_us, reason),
            )
            for index, _ in entry.recipients
        ]

    def _told(self, partition: int, since_us: int) -> set[bytes]:
        """Messages that events since then, or among the newest ones, say more of than a time."""
        over: set[bytes] = set()
        _, end = self._queue.offsets(EVENTS)[partition]
        recent = stretch(self._queue, EVENTS, partition, offset=max(0, end - RECENT_EVENTS))
        since = stretch(self._queue, EVENTS, partition, time_us=max(0, since_us - SLACK_US))
        for batches in (recent, since):
            for batch in batches:
                columns = EventColumns(batch).events()
                told = zip(columns["message_id"], columns["kind"], strict=True)
                over |= {
                    id_ for id_, kind in told if kind != "scheduled" and isinstance(id_, bytes)
                }
        return over

    def _in_lanes(self, partition: int) -> set[bytes]:
        """Messages in the lanes that the worker has not finished."""
        consumer = self._queue.consumer(WORKER_GROUP, SEND_TOPICS)
        try:
            committed = consumer.committed()
        finally:
            consumer.close()
        found: set[bytes] = set()
        for topic in SEND_TOPICS:
            mark, _ = committed.get((topic, partition), (0, b""))
            for batch in stretch(self._queue, topic, partition, offset=mark):
                found |= {uuid.UUID(record[0]).bytes for record in routing_records(batch)}
        return found
