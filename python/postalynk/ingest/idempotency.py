"""Idempotency keys: one key, one set of message ids, for a day, whatever crashes.

**Problem.** A caller without an answer sends again. The second request must get the first one's
answer, not a second message: also while the first is still running, and after `kill -9` anywhere.
**Model.** A key is *claimed* durably, with the request's hash and the ids it will have, before its
messages are appended; afterwards it is marked *done*, along with some later append. In memory an
LRU holds what is running and what was lately done; all else is one point read.
**Crash.** Claimed but not done, and not running here: the log decides. Ids whose record and
ACCEPTED event are there were accepted; what is missing is appended now, under the ids of the claim.
So the mark may be lost and the claim may be early, and the answer is still the first one's.
**Laws.** `one_key_one_message`: over all crashes and concurrent requests a key has at most one
message per entry. `same_answer`: every 202 of a key has the same octets. `other_body_conflicts`.
**Not here.** Refused requests claim nothing: a corrected body may use the same key.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from postalynk.errors import QueueError
from postalynk.ingest import claims
from postalynk.ingest.answers import Answer, busy, refusal
from postalynk.ingest.border import halves, partition_of
from postalynk.ingest.claims import Claim, Stored
from postalynk.ingest.receipt import Receipt
from postalynk.observability import get_logger

if TYPE_CHECKING:
    from postalynk.ingest.acceptor import Acceptor
    from postalynk.model import AcceptedMessage
    from postalynk.queue.protocol import Append, Queue

log = get_logger(__name__)

MAX_KEY = 256
LIFETIME_US = 24 * 3600 * 1_000_000
"""As Resend keeps them."""
MAX_MEMORY = 32_000_000
"""Octets of claims in memory; some 100,000 single messages."""
ENTRY_OVERHEAD = 300
SWEEP_PAGE = 500


class Prepared(NamedTuple):
    """A request that can be accepted."""

    receipt: Receipt
    messages: Sequence[AcceptedMessage]


class Attempt(Protocol):
    """One request, as far as idempotency is concerned."""

    size: int

    def prepare(self, ids: list[bytes] | None) -> Prepared | Answer:
        """Validate, and compose under the ids given or under fresh ones; or the refusal."""
        ...

    async def judge(self, prepared: Prepared) -> Prepared | Answer:
        """What the policy leaves of it, or its refusal; asked before anything is claimed."""
        ...

    def accepted(self, receipt: Receipt, messages: Sequence[AcceptedMessage]) -> None:
        """These are durable now; the entries the receipt names as errors are refused."""
        ...


class _Entry:
    """A key in memory: running while `claim` is None."""

    __slots__ = ("answer", "claim", "request")

    def __init__(self, request: bytes, answer: asyncio.Future[Answer]) -> None:
        self.request = request
        self.answer: asyncio.Future[Answer] | None = answer
        self.claim: Claim | None = None


CONFLICT = refusal(
    409,
    "invalid_idempotent_request",
    "this Idempotency-Key was used with another request within 24 hours: use a new key",
)
UNKNOWN = busy("the message may not have been stored: send it again with the same Idempotency-Key")


def check_key(key: bytes) -> Answer | None:
    """400 unless the header's value is a usable key."""
    if 0 < len(key) <= MAX_KEY and key.isascii() and key.decode().isprintable():
        return None
    message = f"Idempotency-Key must have 1 to {MAX_KEY} printable ASCII characters"
    return refusal(400, "invalid_idempotency_key", message)


class Idempotency:
    """Answers requests with a key; belongs to one event loop."""

    def __init__(self, queue: Queue, acceptor: Acceptor, clock: Callable[[], int]) -> None:
        """``clock`` gives microseconds since the Unix epoch."""
        self._queue = queue
        self._acceptor = acceptor
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._memory = 0
        self._running: set[asyncio.Task[None]] = set()
        self._sweep_at: tuple[int, bytes | None] = (0, None)
        self._claimed: set[bytes] = set()  # since the sweep last read a page

    async def answer(self, org: str, key: bytes, request: bytes, attempt: Attempt) -> Answer:
        """The one answer of this key; ``request`` is the hash of route, mode and body."""
        name = claims.key_of(org, key)
        entry = self._entries.get(name)
        if entry is not None and entry.claim is not None and self._is_over(entry.claim):
            self._forget(name)
            entry = None
        if entry is not None:
            if entry.request != request:
                return CONFLICT
            self._entries.move_to_end(name)
            if entry.claim is not None:
                return entry.claim.receipt.answer()
            assert entry.answer is not None
            # Shielded: one caller hanging up must not take the others' answer away.
            return await asyncio.shield(entry.answer)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        entry = self._entries[name] = _Entry(request, answer)
        task = loop.create_task(self._run(org, name, entry, attempt))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(answer)

    async def _run(self, org: str, name: bytes, entry: _Entry, attempt: Attempt) -> None:
        """Settle one key; the entry stays in memory only if its messages are durable."""
        answer, claim = UNKNOWN, None
        try:
            answer, claim = await self._settle(org, name, entry.request, attempt)
        except QueueError as error:
            self._acceptor.outage.failed(error)
        except Exception:
            log.exception("settling an idempotency key failed")
        finally:
            future, entry.answer = entry.answer, None
            if claim is None:
                self._entries.pop(name, None)
            else:
                self._remember(name, entry, claim)
            if future is not None and not future.done():
                future.set_result(answer)

    async def _settle(
        self, org: str, name: bytes, request: bytes, attempt: Attempt
    ) -> tuple[Answer, Claim | None]:
        partition = partition_of(org, self._queue.partitions)
        claim, stored = await asyncio.to_thread(self._look_up, org, partition, name)
        if claim is not None and claim.request != request:
            return CONFLICT, None
        if claim is not None and (
            claim.is_done or stored.whole.issuperset(claim.receipt.accepted())
        ):
            return claim.receipt.answer(), self._mark(partition, name, claim)
        prepared = attempt.prepare(claim.receipt.message_ids() if claim is not None else None)
        if claim is None and isinstance(prepared, Prepared):
            prepared = await attempt.judge(prepared)
        if isinstance(prepared, Answer):
            return prepared, None
        if claim is None or claim.receipt != prepared.receipt:
            # Of a claim that is claimed anew the time stays: from there the log is searched.
            at_us = self._clock() if claim is None else claim.at_us
            salt = prepared.messages[0].salt if prepared.messages else 1
            salt = salt if claim is None else claim.salt
            claim = Claim(request, at_us, prepared.receipt, salt=salt)
            self._claimed.add(name)
            upsert = (claims.TOPIC, partition, name, claims.encode(claim))
            if not await self._acceptor.submit((), appends=[upsert]):
                return UNKNOWN, None
        messages = [
            m if m.salt == claim.salt else msgspec.structs.replace(m, salt=claim.salt)
            for m in prepared.messages
            if m.id not in stored.whole
        ]
        parts, partitions = stored.unannounced | stored.announced, self._queue.partitions
        missing: list[Append] = []
        for ids, is_event in ((stored.unannounced, True), (stored.announced, False)):
            parted = [m for m in messages if m.id in ids]
            missing += halves(parted, partitions, is_event=is_event)
        absent = [m for m in messages if m.id not in parts]
        if not await self._acceptor.submit(absent, attempt.size, missing):
            return UNKNOWN, None
        attempt.accepted(claim.receipt, messages)
        return claim.receipt.answer(), self._mark(partition, name, claim)

    def _look_up(self, org: str, partition: int, name: bytes) -> tuple[Claim | None, Stored]:
        """The claim in force, and which of its messages are in the log if it is not done."""
        value = self._queue.get(claims.TOPIC, partition, [name])[0]
        claim = claims.decode(value) if value is not None else None
        if claim is None or self._is_over(claim):
            return None, Stored()
        if claim.is_done:
            return claim, Stored()
        return claim, claims.stored_of(self._queue, org, claim)

    def _mark(self, partition: int, name: bytes, claim: Claim) -> Claim:
        """The claim as done; the mark saves a later search of the log, so it needs no sync."""
        if claim.is_done:
            return claim
        done = msgspec.structs.replace(claim, is_done=True)
        self._acceptor.along((claims.TOPIC, partition, name, claims.encode(done)))
        return done

    def _is_over(self, claim: Claim) -> bool:
        return claim.at_us + LIFETIME_US <= self._clock()

    # --- memory and disk stay bounded -----------------------------------------------------------

    def _remember(self, name: bytes, entry: _Entry, claim: Claim) -> None:
        entry.claim = claim
        self._memory += _size(claim)
        self._entries.move_to_end(name)
        while self._memory > MAX_MEMORY and len(self._entries) > 1:
            oldest, old = next(iter(self._entries.items()))
            if old.claim is None:  # running: bounded by the requests in flight, and needed
                self._entries.move_to_end(oldest)
                break
            self._forget(oldest)

    def _forget(self, name: bytes) -> None:
        entry = self._entries.pop(name)
        if entry.claim is not None:
            self._memory -= _size(entry.claim)

    async def sweep(self) -> int:
        """Remove the expired claims of the next page on disk; call it every second or so.

        Returns how many went. A page a second passes over 40 million claims a day.
        """
        partition, after = self._sweep_at
        self._claimed.clear()
        try:
            page = await asyncio.to_thread(
                self._queue.compacted, claims.TOPIC, partition, after, SWEEP_PAGE
            )
        except QueueError as error:
            self._acceptor.outage.failed(error)
            return 0
        gone = 0
        for name, value in page:
            try:
                is_over = self._is_over(claims.decode(value))
            except ValueError:
                continue  # a newer release's: not ours to judge
            if is_over and name not in self._entries and name not in self._claimed:
                self._acceptor.along((claims.TOPIC, partition, name, None))
                gone += 1
        if len(page) < SWEEP_PAGE:
            self._sweep_at = ((partition + 1) % self._queue.partitions, None)
        else:
            self._sweep_at = (partition, page[-1][0])
        return gone


def _size(claim: Claim) -> int:
    errors = sum(len(raw) for raw in claim.receipt.errors.values())
    return ENTRY_OVERHEAD + len(claim.receipt.ids) + errors
