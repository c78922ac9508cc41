"""Group commit: one append in flight; whatever arrives meanwhile shares the next one.

**Problem.** An fdatasync costs a millisecond whatever it carries; one per request would cap the
rate at some hundreds.
**Model.** Requests leave messages and upserts here and wait for a future. One thread encodes and
appends everything that waits, then the futures are resolved, then the next round begins. Marks
(`along`) are written with any later round, a second later at the latest.
**Invariants.** A future turns True only after `Queue.append` returned (G1). At most one
round runs. A message that cannot be encoded fails its own request only (G6).
**Law `answered_after_durable`.** When a future is True, its messages are in the log.
**Not here.** The bound on what waits: `body.Budget` counts a request's bytes until it is answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from postalynk.errors import QueueError
from postalynk.ingest.border import encode_messages
from postalynk.ingest.outage import Outage
from postalynk.observability import get_logger
from postalynk.queue.topics import SCHEDULED

if TYPE_CHECKING:
    from collections.abc import Callable

    from postalynk.model import AcceptedMessage
    from postalynk.observability import Metrics
    from postalynk.queue.protocol import Append, Queue

log = get_logger(__name__)

MAX_ROUND_BYTES = 16_000_000
"""Of request bodies in one append. Addresses stand in a message's records up to seven times as long
as in its request, and the queue takes 128 MiB at once: what could exceed that is larger than this,
so it is alone in its round and fails nobody else."""
ALONG_DELAY_S = 1.0


class _Work:
    """One request's share of a round."""

    __slots__ = ("appends", "durable", "messages", "size")

    def __init__(
        self,
        messages: Sequence[AcceptedMessage],
        appends: Sequence[Append],
        size: int,
        durable: asyncio.Future[bool],
    ) -> None:
        self.messages = messages
        self.appends = appends
        self.size = size
        self.durable = durable


class Acceptor:
    """Makes accepted messages durable; belongs to one event loop."""

    def __init__(
        self,
        queue: Queue,
        metrics: Metrics,
        accepted: Callable[[Sequence[AcceptedMessage]], None] = lambda _messages: None,
    ) -> None:
        """``accepted`` is told, from the thread that appends, of messages that are durable now."""
        self._queue = queue
        self.outage = Outage()
        """Told of a queue that does not answer, by whoever asks it here."""
        self._accepted = accepted
        self._metrics = metrics
        self._waiting: deque[_Work] = deque()
        self._along: list[Append] = []
        self._is_along_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="append")

    def submit(
        self, messages: Sequence[AcceptedMessage], size: int = 0, appends: Sequence[Append] = ()
    ) -> asyncio.Future[bool]:
        """Make messages and further appends durable with the next round.

        The future is True when they are, False when that is unknown or they cannot be encoded;
        it never raises. ``size``: octets of the request, for the bound of a round.
        """
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append(_Work(messages, appends, size, durable))
        self._kick()
        return durable

    @property
    def partitions(self) -> int:
        """Of the queue."""
        return self._queue.partitions

    def append_encoded(self, appends: Sequence[Append], lanes: Sequence[str]) -> bool:
        """Make messages durable that are encoded already, in the thread that calls.

        False: that is unknown. ``lanes``: of the messages. Beside the rounds: the queue lets all
        who append at one time share one sync, and such messages have no upserts whose order counts.
        """
        try:
            self._queue.append(appends)
        except QueueError as error:
            self.outage.failed(error)
            return False
        except Exception:
            log.exception("the append failed", appends=len(appends))
            return False
        self.outage.over()
        self._count(lanes)
        return True

    def along(self, append: Append) -> None:
        """Write an upsert with any later round; that a crash may lose it must be safe."""
        self._along.append(append)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ALONG_DELAY_S, self._along_due)

    async def close(self) -> None:
        """Write what waits, the marks included, then stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._along_due()
        while self._task is not None:
            await asyncio.wait([self._task])
        self._thread.shutdown()

    def _along_due(self) -> None:
        self._timer = None
        self._is_along_due = True
        self._kick()

    def _kick(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._rounds())

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting or (self._is_along_due and self._along):
                works = self._take()
                along, self._along = self._along, []
                self._is_along_due = False
                failed = set(works)
                try:
                    failed = await loop.run_in_executor(self._thread, self._append, works, along)
                finally:
                    for work in works:
                        if not work.durable.done():
                            work.durable.set_result(work not in failed)
        finally:
            self._task = None

    def _take(self) -> list[_Work]:
        works: list[_Work] = []
        size = 0
        while self._waiting and (not works or size + self._waiting[0].size <= MAX_ROUND_BYTES):
            work = self._waiting.popleft()
            works.append(work)
            size += work.size
        return works

    def _append(self, works: list[_Work], along: list[Append]) -> set[_Work]:
        """Encode and append one round, in the thread; returns what did not become durable."""
        encoded, failed = self._encode(works)
        # What goes along is older: an upsert of the same key by a request must win.
        appends = [*along, *encoded]
        for work in works:
            if work not in failed:
                appends.extend(work.appends)
        if not appends:
            return failed
        scheduled = [append for append in appends if append[0] == SCHEDULED]
        try:
            if scheduled:
                # Apart and first: one append makes records durable before upserts, and an ACCEPTED
                # event must not speak of a message that nothing holds.
                self._queue.append(scheduled)
                appends = [append for append in appends if append[0] != SCHEDULED]
            self._queue.append(appends)
        except QueueError as error:
            # Whether it was stored is unknown to the caller: 503, and the key settles it later.
            self.outage.failed(error)
            return set(works)
        except Exception:
            log.exception("the append failed", appends=len(appends))
            return set(works)
        self.outage.over()
        durable = [m for work in works if work not in failed for m in work.messages]
        self._count([message.lane for message in durable])
        if scheduled:
            self._accepted(durable)
        return failed

    def _count(self, lanes: Sequence[str]) -> None:
        if lanes:
            self._metrics.batch_size.labels("accept").observe(len(lanes))
        for lane, count in Counter(lanes).items():
            self._metrics.accepted.labels(lane).inc(count)

    def _encode(self, works: list[_Work]) -> tuple[list[Append], set[_Work]]:
        partitions = self._queue.partitions
        messages = [message for work in works for message in work.messages]
        if not messages:
            return [], set()
        try:
            return encode_messages(messages, partitions), set()
        except Exception:
            log.exception("messages could not be encoded", messages=len(messages))
        appends: list[Append] = []
        failed: set[_Work] = set()
        for work in works:
            try:
                appends.extend(encode_messages(work.messages, partitions))
            except Exception:  # noqa: BLE001 - any reason fails its own request only; logged above
                failed.add(work)
        return appends, failed
