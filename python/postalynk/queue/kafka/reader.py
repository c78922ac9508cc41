"""Reading all partitions of some topics: fair over partitions, exact about what is there.

**Model.** The client fetches ahead; `_pull` moves what has come into a short list per partition and
`_deal` gives from these in turns. A position is `_at`: the next offset to be given.
**Exact.** The client says when it has reached the end of a partition. A poll that finds nothing
waits beyond its time while a record is known to be there: one this process appended, or one below
an end somebody asked for. So an empty batch means that there is nothing, as with the embedded log;
the brokers' silence is an error and no empty batch.
**Paused** partitions are not dealt; the client stops fetching them only when too much is held, for
it throws away what it has fetched ahead of a pause.
**Bounds.** `MAX_HELD` records and `MAX_HELD_BYTES` here (twice that while something is paused), and
as many bytes again in the client.
**Laws.** `fair_share` and those of `tests/contract`.
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.queue.kafka.cluster import ANSWER_S, NEWEST, OLDEST, failed, patiently
from postalynk.queue.native import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka import Consumer, Message

    from postalynk.queue.kafka.cluster import Cluster
    from postalynk.queue.protocol import Position

log = get_logger(__name__)

Row = tuple[str, int, int, int, bytes]
Tell = Callable[[Sequence[int]], None]

MAX_HELD = 4_000
MAX_HELD_BYTES = 33_554_432
# How long a wait may be deaf to `close` of the queue and to `resume`.
SLICE_S = 0.1
# A partition not heard of yet: its first record or its end comes within a round trip or two.
SETTLE_S = 2.0
MAX_POLL = 1_000
END = KafkaError._PARTITION_EOF  # noqa: SLF001  the client's own errors are named so
NOT_YET = KafkaError._STATE  # noqa: SLF001
HOPELESS = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


class Owner(Protocol):
    """The queue a reader belongs to."""

    cluster: Cluster
    partitions: int

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be asked any more."""
        ...

    def ends(
        self, positions: Sequence[Position], spec: OffsetSpec, patience_s: float | None = None
    ) -> list[int]:
        """Offsets as they are now; QueueError after so long without an answer."""
        ...

    def known_end(self, position: Position) -> int:
        """The highest end this process has heard of."""
        ...


class Reader:
    """A `Consumer` of whole topics; see the module."""

    def __init__(self, queue: Owner, client: Consumer, topics: Sequence[str], group: str) -> None:
        self._queue = queue
        self._client = client
        self._topics = tuple(topics)
        self._group = group
        self._names = {queue.cluster.wire(topic): topic for topic in topics}
        self._lock = threading.RLock()
        # Held while the client reads: it must not be closed meanwhile.
        self._reading = threading.Lock()
        self._at: dict[Position, int] = {}
        self._held: dict[Position, deque[Row]] = {}
        self._turns: deque[Position] = deque()
        self._held_records = self._held_bytes = 0
        self._paused: set[Position] = set()
        # Those the client does not fetch.
        self._stopped: set[Position] = set()
        # Assigned, sought or resumed, and not heard of since this instant.
        self._unsettled: dict[Position, float] = {}
        self._is_assigned = False
        self._is_closed = False

    def begin(self) -> None:
        """Where each partition is read from: what the group has committed, else the oldest."""
        positions = [(t, p) for t in self._topics for p in range(self._queue.partitions)]
        oldest = self._queue.ends(positions, OLDEST)
        self._at = dict(zip(positions, oldest, strict=True))
        for position, (offset, _) in self._committed(positions).items():
            self._at[position] = max(offset, self._at[position])

    def poll(self, max_records: int, max_bytes: int, timeout_ms: int) -> RecordBatch:
        """See `Consumer.poll`; raises QueueError when records are there and do not come."""
        until = time.monotonic() + timeout_ms / 1_000
        wait_s = 0.0
        while True:
            self._check()
            has_room = self._pull(wait_s)
            now = time.monotonic()
            with self._lock:
                # Without room nothing more is heard of anybody, however long one waits.
                if not has_room or not self._is_settling(now):
                    rows = self._deal(max(1, max_records), max(1, max_bytes))
                    if rows or (now >= until and not self._is_behind(now, until)):
                        return RecordBatch(rows)
            wait_s = min(max(until - now, 0.01), SLICE_S)

    def _pull(self, wait_s: float) -> bool:
        """Move what the client has into `_held`; waits for the first record only.

        False: there is no room for any.
        """
        room = MAX_HELD - self._held_records
        is_full = room <= 0 or self._held_bytes >= MAX_HELD_BYTES
        with self._reading:
            self._check()
            self._assign()
            if is_full:
                self._stop_paused()
                # What is left to come is not paused; rebalances are served here too.
                room = 2 * MAX_HELD - self._held_records
                if room <= 0 or self._held_bytes >= 2 * MAX_HELD_BYTES:
                    time.sleep(wait_s)
                    return False
            try:
                messages = self._client.consume(min(room, MAX_POLL), 0)
                if not messages and wait_s:
                    # Asked for many, the client would wait until there are as many.
                    messages = self._client.consume(1, wait_s)
                    if messages:
                        messages += self._client.consume(min(room, MAX_POLL), 0)
            except KafkaException as error:
                raise failed("records cannot be read", error) from error
        if messages:
            with self._lock:
                self._take(messages)
        return True

    def _take(self, messages: list[Message]) -> None:
        # The client gives records of a partition in runs; what is the same for a run is done once.
        for (wire, partition), run in groupby(messages, _place):
            told = list(run)
            good = [message for message in told if message.error() is None]
            if good:
                self._hold((self._names[wire], partition), good)
            for message in told if len(good) < len(told) else ():
                if (error := message.error()) is not None:
                    self._heard(message, error)

    def _hold(self, position: Position, messages: list[Message]) -> None:
        if position not in self._at:
            return  # it was given back meanwhile
        topic, partition = position
        rows: list[Row] = [
            (topic, partition, m.offset() or 0, m.timestamp()[1] * 1_000, m.value() or b"")
            for m in messages
        ]
        held = self._held.get(position)
        if held is None:
            held = self._held[position] = deque()
            self._turns.append(position)
        held.extend(rows)
        self._held_records += len(rows)
        self._held_bytes += sum([len(row[4]) for row in rows])
        self._unsettled.pop(position, None)

    def _heard(self, message: Message, error: KafkaError) -> None:
        if error.code() != END:
            self._client_failed(error)
            return
        position = (self._names[message.topic() or ""], message.partition() or 0)
        self._unsettled.pop(position, None)
        # Compaction or retention may have taken the last records: nothing more will come.
        if position in self._at and not self._held.get(position):
            self._at[position] = max(self._at[position], message.offset() or 0)

    def _client_failed(self, error: KafkaError) -> None:
        """What the client cannot mend is raised; the rest it tries again by itself."""
        # An error that tells of a fatal one is itself none; that client reads no more.
        if error.fatal() or error.code() == KafkaError._FATAL or error.code() in HOPELESS:  # noqa: SLF001
            raise failed("records cannot be read", error)
        log.warning("reading is disturbed", **{"error.message": error.str()})

    def _is_settling(self, now: float) -> bool:
        """Whether a partition that should be served in this turn has not been heard of yet."""
        for position, since in list(self._unsettled.items()):
            if now > since + SETTLE_S:
                del self._unsettled[position]
        return any(position not in self._paused for position in self._unsettled)

    def _is_behind(self, now: float, until: float) -> bool:
        """Whether records are known to be there; they come, or the brokers are silent."""
        known = self._queue.known_end
        behind = [p for p, at in self._at.items() if at < known(p) and p not in self._paused]
        if behind and now > until + ANSWER_S:
            raise QueueError(
                f"Kafka: records of {behind[0][0]}, partition {behind[0][1]} do not come",
                fix="look at the brokers; nothing stored is lost",
            )
        return bool(behind)

    def _deal(self, max_records: int, max_bytes: int) -> list[Row]:
        """The same share of each partition in turn; at least one record, if there is one."""
        rows: list[Row] = []
        size = 0
        resting: list[Position] = []
        turns, held = self._turns, self._held
        while turns and len(rows) < max_records and size < max_bytes:
            most = max(1, (max_records - len(rows)) // len(turns))
            most_bytes = max(1, (max_bytes - size) // len(turns))
            position = turns.popleft()
            if position in self._paused:
                resting.append(position)
                continue
            waiting = held[position]
            part, took = _share(waiting, most, most_bytes)
            rows += part
            size += took
            self._at[position] = part[-1][2] + 1
            if waiting:
                turns.append(position)
            else:
                del held[position]
        turns.extendleft(reversed(resting))
        self._held_records -= len(rows)
        self._held_bytes -= size
        return rows

    def commit(self, positions: Mapping[Position, tuple[int, bytes]]) -> None:
        """See `Consumer.commit`."""
        self._check(*positions)
        if not self._group:
            raise QueueError("a consumer without a group has nothing to commit to")
        ahead = [p for p, (offset, _) in positions.items() if offset > self._at.get(p, 0)]
        for position, end in zip(ahead, self._queue.ends(ahead, NEWEST), strict=True):
            if positions[position][0] > end:
                raise QueueError(f"{position}: offset {positions[position][0]} is beyond the end")
        if positions:
            self._commit(positions)

    def _commit(self, positions: Mapping[Position, tuple[int, bytes]]) -> None:
        wire = self._queue.cluster.wire
        places = [
            TopicPartition(wire(topic), partition, offset, base64.b64encode(note).decode())
            for (topic, partition), (offset, note) in positions.items()
        ]
        try:
            answers = self._client.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise failed("the offsets cannot be committed", error) from error
        for answer in answers or ():
            if answer.error is not None:
                raise failed("the offsets cannot be committed", answer.error)

    def committed(self) -> dict[Position, tuple[int, bytes]]:
        """See `Consumer.committed`."""
        self._check()
        return self._committed(list(self._at))

    def _committed(self, positions: Iterable[Position]) -> dict[Position, tuple[int, bytes]]:
        asked = [self._queue.cluster.place(position) for position in positions]
        if not self._group or not asked:
            return {}

        def ask() -> list[TopicPartition]:
            answers = self._client.committed(asked, timeout=ANSWER_S)
            for answer in answers:
                if answer.error is not None:
                    raise KafkaException(answer.error)
            return answers

        committed: dict[Position, tuple[int, bytes]] = {}
        for answer in patiently("the committed offsets cannot be read", ask):
            if answer.offset >= 0:
                place = (self._names[answer.topic], answer.partition)
                committed[place] = (answer.offset, _note(answer.metadata))
        return committed

    def pause(self, positions: Sequence[Position]) -> None:
        """See `Consumer.pause`."""
        self._check(*positions)
        with self._lock:
            self._paused.update(positions)

    def resume(self, positions: Sequence[Position]) -> None:
        """See `Consumer.resume`."""
        self._check(*positions)
        with self._lock:
            self._paused.difference_update(positions)
            if self._is_assigned:
                self._start([p for p in positions if p in self._stopped])

    def seek(
        self, topic: str, partition: int, *, offset: int | None = None, time_us: int | None = None
    ) -> None:
        """See `Consumer.seek`."""
        position = (topic, partition)
        self._check(position)
        if (offset is None) is (time_us is None):
            raise ValueError("give either offset or time_us")
        if offset is None:
            assert time_us is not None
            offset = self._offset_at(position, -(-time_us // 1_000))
        with self._lock:
            self._drop(position)
            self._at[position] = offset
            if self._is_assigned:
                self._seek(position, offset)
                # At an end somebody asked for nothing is to be heard of.
                if not 0 < self._queue.known_end(position) <= offset:
                    self._unsettle([position])

    def _drop(self, position: Position) -> None:
        """Forget what is held of it."""
        dropped = self._held.pop(position, None)
        if dropped is not None:
            self._turns.remove(position)
            self._held_records -= len(dropped)
            self._held_bytes -= sum(len(row[4]) for row in dropped)

    def _seek(self, position: Position, offset: int) -> None:
        place = self._queue.cluster.place(position, offset)
        for _ in range(round(ANSWER_S / 0.02)):
            try:
                self._client.seek(place)
            except KafkaException as error:
                if error.args[0].code() != NOT_YET:
                    raise failed("cannot seek", error) from error
                time.sleep(0.02)  # assigned a moment ago: its fetching has not begun
            else:
                return
        raise QueueError(f"Kafka: {position} cannot be sought", fix="look at the brokers")

    def _offset_at(self, position: Position, time_ms: int) -> int:
        """Of the first record at or after a time; the end when there is none."""
        found = self._queue.ends([position], OffsetSpec.for_timestamp(time_ms))[0]
        return found if found >= 0 else self._queue.ends([position], NEWEST)[0]

    def lag(self) -> dict[Position, int]:
        """See `Consumer.lag`."""
        self._check()
        at = dict(self._at)
        ends = self._queue.ends(list(at), NEWEST)
        return {p: max(0, end - at[p]) for p, end in zip(at, ends, strict=True)}

    def close(self) -> None:
        """See `Consumer.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        with self._reading, contextlib.suppress(RuntimeError):
            self._client.close()

    def _assign(self) -> None:
        """Tell the client what to read, at the first poll: seeking until then costs nothing."""
        if self._is_assigned:
            return
        with self._lock:
            place = self._queue.cluster.place
            self._client.assign([place(position, at) for position, at in self._at.items()])
            self._is_assigned = True
            self._stop_paused()
            self._unsettle(self._at)

    def _stop_paused(self) -> None:
        """Fetch no more of what is paused."""
        with self._lock:
            new = [p for p in self._paused if p in self._at and p not in self._stopped]
            if new:
                self._client.pause([self._queue.cluster.place(position) for position in new])
                self._stopped.update(new)

    def _start(self, positions: Sequence[Position]) -> None:
        """Fetch again."""
        if positions:
            self._client.resume([self._queue.cluster.place(position) for position in positions])
            self._stopped.difference_update(positions)
            self._unsettle(positions)

    def _unsettle(self, positions: Iterable[Position]) -> None:
        now = time.monotonic()
        self._unsettled.update((p, now) for p in positions if p not in self._held)

    def _check(self, *positions: Position) -> None:
        if self._is_closed:
            raise QueueError("the consumer is closed")
        if self._queue.is_closed:
            raise QueueError("the queue is closed")
        for topic, partition in positions:
            if topic not in self._topics or not 0 <= partition < self._queue.partitions:
                raise QueueError(f"this consumer does not read {topic}, partition {partition}")


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _share(waiting: deque[Row], most: int, max_bytes: int) -> tuple[list[Row], int]:
    """The next rows of a partition and their octets, of which the last row may be too many."""
    part = [waiting.popleft() for _ in range(min(most, len(waiting)))]
    size = sum([len(row[4]) for row in part])
    while len(part) > 1 and size - len(part[-1][4]) >= max_bytes:
        size -= len(part[-1][4])
        waiting.appendleft(part.pop())
    return part, size


def _note(metadata: str | None) -> bytes:
    """The note of a commit; what another program wrote is none."""
    try:
        return base64.b64decode(metadata or "", validate=True)
    except ValueError:
        return b""
