"""What the log and the sink have to say after something broke: copies, their labels, and order."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from postalynk._engine import EventColumns, routing_records
from postalynk.queue.kafka import KafkaQueue
from postalynk.queue.kafka.cluster import LOGS, Cluster
from postalynk.queue.topics import EVENTS, SEND_TOPICS
from postalynk.settings import Settings
from tests.support.processes import Sink

MAX_BYTES = 16 << 20
# An event tells when an attempt ended by one clock and how long it took by another, and these drift
# apart while it lasts (by up to 500 millionths, and a thread may lose the processor in between): of
# two that began within as much nobody can tell which was first.
CLOCKS_US = 1_000


class Told(NamedTuple):
    """An event of an attempt."""

    kind: str
    attempt: int
    began_at_us: int
    at_us: int
    reason: str


@dataclass
class Evidence:
    """Everything that happened so far, read anew by `look`."""

    settings: Settings
    sink: Sink
    told: dict[str, list[Told]] = field(default_factory=dict)
    """Message id → its events, but for its acceptance, in the order of the log."""
    lanes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """(organization, lane) → message ids in the order of the partition."""
    came: Counter[str] = field(default_factory=Counter)
    """Message id → how often the sink took it."""

    def look(self) -> Evidence:
        """Read the log and the sink's ledger to their ends of now."""
        self.told, self.lanes = defaultdict(list), defaultdict(list)
        with tempfile.TemporaryDirectory(prefix="postalynk-") as directory:
            queue = KafkaQueue(Cluster.of(self.settings.queue), Path(directory), topics=LOGS)
            try:
                for batch in _batches(queue, [EVENTS]):
                    self._take(EventColumns(batch).events())
                for record in itertools.chain.from_iterable(
                    map(routing_records, _batches(queue, SEND_TOPICS))
                ):
                    self.lanes[record[1], record[3]].append(record[0])
            finally:
                queue.close()
        self.came = Counter(known.partition("@")[0] for known, _ in self.sink.received())
        return self

    def _take(self, columns: dict[str, list[Any]]) -> None:
        names = ("message_id", "kind", "attempt", "at_us", "total_us", "reason")
        for known, kind, attempt, at_us, total_us, reason in zip(
            *(columns[name] for name in names), strict=True
        ):
            told = Told(kind, attempt, at_us - total_us, at_us, reason)
            self.told[str(uuid.UUID(bytes=known))].append(told)

    def copies(self) -> dict[str, int]:
        """Messages that came more than once, and how often more."""
        return {known: count - 1 for known, count in self.came.items() if count > 1}

    def unlabelled(self) -> dict[str, list[Told]]:
        """Copies that no event calls in doubt (G2)."""
        return {
            known: self.told[known]
            for known in self.copies()
            if all(told.kind != "in_doubt" for told in self.told[known])
        }

    def doubtful(self) -> set[str]:
        """Messages with an attempt in doubt."""
        return {
            known
            for known, events in self.told.items()
            if any(told.kind == "in_doubt" for told in events)
        }

    def out_of_order(self) -> list[tuple[str, str]]:
        """Pairs of neighbours of one organization and lane whose first attempts, none of them in
        doubt, began the other way round (G3).
        """
        wrong = []
        doubtful = self.doubtful()
        for ids in self.lanes.values():
            began = [
                (min(told.began_at_us for told in first), known)
                for known in dict.fromkeys(ids)
                if known not in doubtful
                and (first := [t for t in self.told.get(known, ()) if t.attempt == 1])
            ]
            wrong += [
                (one[1], next_[1])
                for one, next_ in itertools.pairwise(began)
                if next_[0] + CLOCKS_US < one[0]
            ]
        return wrong


def _batches(queue: KafkaQueue, topics: Any) -> Any:
    """All records to the ends of now."""
    ends = {
        (topic, partition): end
        for topic in topics
        for partition, (_, end) in enumerate(queue.offsets(topic))
        if end
    }
    reader = queue.consumer("", topics)
    try:
        while ends:
            batch = reader.poll(10_000, MAX_BYTES, 1_000)
            for place, offset in batch.next_offsets().items():
                if offset >= ends.get(place, offset + 1):
                    del ends[place]
            yield batch
    finally:
        reader.close()
