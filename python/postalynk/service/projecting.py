"""Rebuilding PostgreSQL from the log: what is missing is written, what is there is left alone.

**Model.** The events of a stretch of time are decoded and written by the recorder's own writer, as
another projection and without its positions. Rows that are there already stay as they are (law
`replay_rewrites_nothing`), so a replay may be cut off, repeated, or run beside the recorder.
**Not here.** Events that retention has dropped from the log.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from postalynk.queue.reading import stretch
from postalynk.queue.topics import EVENTS
from postalynk.recorder.codec import RecordCodec
from postalynk.storage.hot.connection import RowsRefused
from postalynk.storage.hot.writer import HotWriter
from postalynk.worker.parts import wall_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from postalynk.queue.native import RecordBatch
    from postalynk.queue.protocol import Queue

NAME = "replay"


class Stretch(msgspec.Struct, frozen=True):
    """From when to when (microseconds, the end excluded), and whose."""

    from_us: int
    to_us: int
    org: str | None = None


class Replayed(msgspec.Struct, frozen=True):
    """What a replay found in the log, and what PostgreSQL did not have of it."""

    events: int
    new_messages: int
    new_events: int
    refused: int
    """Batches with a row that PostgreSQL can never hold; the rest of these is missing, too."""


class _Chosen:
    """The columns of a batch, without the rows that are not meant."""

    def __init__(self, batch: RecordBatch, which: Stretch) -> None:
        decoded = RecordCodec().decode(batch)
        self._messages = _chosen(decoded.messages(), "accepted_at_us", which)
        self._events = _chosen(decoded.events(), "recorded_at_us", which)

    def messages(self) -> Mapping[str, list[Any]]:
        """Of the accepted ones."""
        return self._messages

    def events(self) -> Mapping[str, list[Any]]:
        """Of all others."""
        return self._events

    def __len__(self) -> int:
        return len(self._messages["id"]) + len(self._events["message_id"])


def _chosen(
    columns: Mapping[str, list[Any]], instant: str, which: Stretch
) -> Mapping[str, list[Any]]:
    fits = [
        which.from_us <= at_us < which.to_us and which.org in {None, org}
        for at_us, org in zip(columns[instant], columns["org"], strict=True)
    ]
    return {
        name: [value for value, is_meant in zip(values, fits, strict=True) if is_meant]
        for name, values in columns.items()
    }


async def replayed(queue: Queue, dsn: Callable[[], str], which: Stretch) -> Replayed:
    """Write what PostgreSQL lacks; raises StorageError when it is out of reach."""
    writer = HotWriter(dsn, wall_us, projection=NAME)
    events = messages = new = refused = 0
    try:
        for partition in range(queue.partitions):
            batches = stretch(queue, EVENTS, partition, time_us=which.from_us)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                chosen = await asyncio.to_thread(_Chosen, batch, which)
                if not len(chosen):
                    continue
                try:
                    written = await writer.write(chosen, {})
                except RowsRefused:
                    refused += 1
                    continue
                events += len(chosen)
                messages, new = messages + written.messages, new + written.events
    finally:
        writer.close()
    return Replayed(events, messages, new, refused)
