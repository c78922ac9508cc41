"""What became of attempts that this worker had begun when its process died, told to all (G2).

**Problem.** On a shared queue others take the partitions of a worker that died and begin again
what it had on the wire; which attempts these are stands in its journal, on its disk alone.
**Model.** The engine reads the journal at start and says in which partitions' events to look, and
from when on. They are followed, whoever has the partitions, until each attempt is accounted for:
its own outcome was recorded after all, it is this worker's again (then admitting it finds it in
doubt), or another began it anew, which an event in doubt then says.
**Bounds.** As many attempts as there were open transactions. With none this step reads nothing.
**Not here.** The embedded queue, where nobody else can have begun anything (`restore`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.queue.topics import EVENTS

if TYPE_CHECKING:
    from postalynk.queue.protocol import Append, Consumer
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

MAX_RECORDS = 1_000
MAX_BYTES = 8_388_608
WAIT_MS = 500
# A record's time is the brokers', the journal's that of this machine.
CLOCKS_APART_US = 60_000_000


class DoubtStep:
    """Follows the events of partitions in which attempts are in doubt."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reader: Consumer | None = None
        self._said: list[Append] = []

    def once(self) -> bool:
        """Take in one batch; False when no attempt is in doubt any more."""
        engine = self._parts.engine
        if self._said:
            # The last append failed.
            self._tell()
        doubts = engine.doubts()
        if not doubts:
            self.close()
            return False
        if self._reader is None:
            self._reader = self._open(doubts)
        batch = self._reader.poll(MAX_RECORDS, MAX_BYTES, WAIT_MS)
        self._said += engine.answer_doubts(batch)
        self._tell()
        return True

    def _tell(self) -> None:
        if self._said:
            self._parts.queue.append(self._said)
            log.warning("others began again what this worker had begun", attempts=len(self._said))
            self._said = []
        self._parts.engine.doubts_told()

    def _open(self, doubts: dict[int, int]) -> Consumer:
        queue = self._parts.queue
        reader = queue.consumer("", [EVENTS])
        others = [(EVENTS, other) for other in range(queue.partitions) if other not in doubts]
        try:
            reader.pause(others)
            for partition, begun_at_us in doubts.items():
                reader.seek(EVENTS, partition, time_us=max(begun_at_us - CLOCKS_APART_US, 0))
        except QueueError:
            reader.close()
            raise
        return reader

    def close(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
