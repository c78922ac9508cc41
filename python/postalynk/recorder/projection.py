"""The recorder: `email.events` → PostgreSQL, at its own pace.

**Problem.** Sending must not wait for PostgreSQL, and PostgreSQL must end up with every event once,
through its outages, our crashes and records nobody can read.
**Model.** One task: poll → decode → write → commit. A batch is everything that came since the last
write, at most `MAX_RECORDS`; writes start at least `PACE_S` apart unless the batch was full, so a
trickle costs five transactions a second and not one per message. While PostgreSQL is down the
batch is held and tried again; the queue keeps the rest.
**Position.** The one in PostgreSQL counts, because it is written with the rows. The queue's own
commit for group `recorder` follows it and only ever makes us read *more*: if the queue knows an
earlier one, or none, this log is not the one that was projected or the database is newer, and what
comes twice changes nothing (law `replay_rewrites_nothing`).
**Invariants.** A record that cannot be decoded or held goes to ``email.dlq`` with its reason before
the position moves past it (after a crash between the two, once more); it stops no other.
**Not here.** Rows and transactions (`postalynk.storage.hot.writer`); starting PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from postalynk.errors import QueueError, StorageError
from postalynk.queue.protocol import Shared
from postalynk.storage.hot.connection import RowsRefused
from postalynk.storage.hot.writer import Columns, HotWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postalynk.queue.protocol import Append, Consumer, Position, Queue

GROUP = "recorder"
TOPIC = "email.events"
MAX_RECORDS = 5_000
MAX_BYTES = 16_000_000
POLL_MS = 200
PACE_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0

Row = tuple[str, int, int, int, bytes]
"""(topic, partition, offset, appended_at_us, value)."""

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Batch(Protocol):
    """Records of one poll (`postalynk._engine.RecordBatch`)."""

    def __len__(self) -> int:
        """How many."""
        ...

    def rows(self) -> list[Row]:
        """The records as Python values."""
        ...

    def next_offsets(self) -> dict[Position, int]:
        """The offset after the last record of each partition."""
        ...


class Decoded(Columns, Protocol):
    """Events as columns, and which records are none."""

    @property
    def undecodable(self) -> list[tuple[str, int, int, str]]:
        """(topic, partition, offset, reason)."""
        ...


class Codec(Protocol):
    """What the recorder needs of Rust (`postalynk.recorder.codec`)."""

    def decode(self, records: Batch | Sequence[Row]) -> Decoded:
        """Decode a batch; what is no event is listed, not raised."""
        ...

    def dead_letter(self, row: Row, reason: str, detail: str, at_us: int) -> Append:
        """The record of ``email.dlq`` that holds ``row`` whole."""
        ...


@dataclass(slots=True)
class Progress:
    """What the recorder shows of itself; read from any thread."""

    is_connected: bool = False
    messages: int = 0
    events: int = 0
    dead_letters: int = 0
    """Records no projection can show; see `postalynk dlq ls`."""


class Recorder:
    """Projects one queue; `run` it in a task, end it with `stop`."""

    def __init__(
        self,
        queue: Queue,
        dsn: Callable[[], str],
        *,
        codec: Codec,
        now_us: Callable[[], int],
    ) -> None:
        self._queue = queue
        self._codec = codec
        self._now_us = now_us
        self._writer = HotWriter(dsn, now_us, projection=GROUP)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next: dict[Position, int] = {}
        self.progress = Progress()

    def lag(self) -> int:
        """Events appended and not projected yet. Growing: PostgreSQL is down or too slow."""
        ends = enumerate(self._queue.offsets(TOPIC))
        return sum(max(0, end - self._next.get((TOPIC, n), oldest)) for n, (oldest, end) in ends)

    async def run(self) -> None:
        """Project until stopped. Raises QueueError (or what the queue raises) when it cannot read.

        On `stop` it goes on to the end of the log, then returns.
        """
        consumer: Consumer | None = None
        self._task = asyncio.current_task()
        try:
            stored = await self._persist(self._writer.positions)
            consumer = await asyncio.to_thread(self._queue.consumer, GROUP, [TOPIC])
            await asyncio.to_thread(self._resume, consumer, stored)
            await self._project(consumer)
        finally:
            self._writer.close()
            if consumer is not None:
                consumer.close()

    async def stop(self, timeout_s: float = 5.0) -> bool:
        """End `run`; True when everything appended so far is projected.

        While PostgreSQL is down it is not waited for: what is left is projected after the next
        start.
        """
        self._stopping.set()
        task = self._task
        if task is None:
            return False
        if not task.done():
            await asyncio.wait([task], timeout=timeout_s if self.progress.is_connected else 0)
        if not task.done():
            task.cancel()
            # Without a connection there is no rollback to wait for on a server that hangs.
            self._writer.close()
            await asyncio.wait([task])
        return not task.cancelled() and task.exception() is None

    def _resume(self, consumer: Consumer, stored: dict[Position, int]) -> None:
        """Go to the position in PostgreSQL, or to an earlier one the queue knows."""
        committed = consumer.committed()
        for partition, (oldest, end) in enumerate(self._queue.offsets(TOPIC)):
            place = (TOPIC, partition)
            offset = min(stored.get(place, 0), committed.get(place, (0, b""))[0])
            if offset > end:
                offset = oldest
            elif offset < oldest and place in stored:
                _log.error(
                    "events left the queue before they were projected",
                    partition=partition,
                    missing=oldest - offset,
                )
            self._next[place] = max(offset, oldest)
            consumer.seek(TOPIC, partition, offset=self._next[place])

    async def _project(self, consumer: Consumer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            is_last = self._stopping.is_set()
            batch = await asyncio.to_thread(
                consumer.poll, MAX_RECORDS, MAX_BYTES, 0 if is_last else POLL_MS
            )
            if len(batch):
                await self._record(consumer, batch)
            elif is_last:
                return
            if 0 < len(batch) < MAX_RECORDS and not self._stopping.is_set():
                await self._pause(PACE_S - (loop.time() - started))

    async def _record(self, consumer: Consumer, batch: Batch) -> None:
        """One batch to the end: written or dead-lettered, then committed."""
        decoded = await asyncio.to_thread(self._codec.decode, batch)
        if decoded.undecodable:
            reasons = {(topic, number, at): why for topic, number, at, why in decoded.undecodable}
            rows = [row for row in batch.rows() if row[:3] in reasons]
            await self._bury([(row, "undecodable", reasons[row[:3]]) for row in rows])
        positions = batch.next_offsets()
        try:
            await self._write(decoded, positions)
        except RowsRefused:
            bad = {record[:3] for record in decoded.undecodable}
            await self._divide([row for row in batch.rows() if row[:3] not in bad])
            await self._write(await asyncio.to_thread(self._codec.decode, []), positions)
        self._next.update(positions)
        commits = {place: (offset, b"") for place, offset in positions.items()}
        try:
            await asyncio.to_thread(consumer.commit, commits)
        except QueueError as error:
            if not isinstance(self._queue, Shared):
                raise
            # A coordinator moves or is away: PostgreSQL knows the position, the next one follows.
            _log.warning("cannot commit", **{"error.message": str(error)})

    async def _divide(self, rows: list[Row]) -> None:
        """Write all rows but those PostgreSQL can never hold, found by halving."""
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            if not half:
                continue
            decoded = await asyncio.to_thread(self._codec.decode, half)
            try:
                # The position moves when all halves are through; until then this is a replay.
                await self._write(decoded, {})
            except RowsRefused as error:
                if len(half) == 1:
                    await self._bury([(half[0], "unprojectable", str(error))])
                else:
                    await self._divide(half)

    async def _write(self, decoded: Decoded, positions: dict[Position, int]) -> None:
        written = await self._persist(lambda: self._writer.write(decoded, positions))
        self.progress.messages += written.messages
        self.progress.events += written.events

    async def _bury(self, records: list[tuple[Row, str, str]]) -> None:
        now_us = self._now_us()
        letters = [self._codec.dead_letter(*record, now_us) for record in records]
        await asyncio.to_thread(self._queue.append, letters)
        self.progress.dead_letters += len(letters)
        for (topic, partition, offset, *_), reason, detail in records:
            _log.error(
                "an event cannot be projected and is dead-lettered",
                topic=topic,
                partition=partition,
                offset=offset,
                reason=reason,
                detail=detail,
            )

    async def _persist(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Call until PostgreSQL answers, with growing pauses; only a refusal comes through."""
        pause = FIRST_PAUSE_S
        is_told = False
        while True:
            try:
                answer = await call()
            except RowsRefused:
                self.progress.is_connected = True
                raise
            except StorageError as error:
                self.progress.is_connected = False
                if not is_told:
                    _log.warning("the projection waits for PostgreSQL", error=str(error))
                    is_told = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            if is_told:
                _log.info("PostgreSQL answers again; the projection catches up")
            self.progress.is_connected = True
            return answer

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
