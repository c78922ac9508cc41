"""The audit: every accepted delivery is accounted for, from the log alone (G1).

**A partition at a time.** All that speaks of a message stands in one partition, so an account
holds one partition's messages: 20 to 40 bytes each.
**Why it never cries wolf on a live system.** It reads, in this order: the low-water marks, the keys
of ``email.deferred``, ``email.events`` to the end it has then, the keys of
``email.scheduled``, and last ``email.send.*`` from those marks to the end. A delivery that moves on
meanwhile is found in the place it moved to: an event is durable before its deferral, a deferral
before its mark, a schedule's entry before its ACCEPTED event, a due record before its entry goes.
**Incremental.** With a directory, what the events said is kept there per partition, beside the
offset they were read to; the next audit reads on from it. Messages that were over `KEPT_S` ago are
only counted. A file that is damaged, or of another log, is passed over: all is read again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from postalynk.engine import Audit
from postalynk.queue.reading import stretch
from postalynk.queue.topics import DEAD_LETTERS, DEFERRED, EVENTS, SCHEDULED, SEND_TOPICS
from postalynk.service.accounting import low_water_marks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postalynk.queue.protocol import Position, Queue

KEPT_S = 8 * 86_400
"""Longer than any message is retried, and than the log keeps what it would be compared to."""


class AuditReport(msgspec.Struct, frozen=True):
    """G1 in numbers: deliveries accepted, how many in each state, and the two lists of shame."""

    accepted: int
    states: dict[str, int]
    unaccounted: list[str]
    twice: list[str]

    @property
    def is_clean(self) -> bool:
        """Nothing lost, nothing delivered twice without a label."""
        return not self.unaccounted and not self.twice


class Kept(msgspec.Struct):
    """What an audit leaves for the next one, of one partition."""

    next_offset: int
    """Of ``email.events``: how far it was read."""
    said: bytes
    """`Audit.save`."""
    over: dict[str, int] = {}
    """Deliveries of messages that are only counted."""


_decode = msgspec.msgpack.Decoder(Kept).decode


def audit(queue: Queue, directory: Path | None = None, *, is_full: bool = False) -> AuditReport:
    """Account for every accepted delivery.

    ``directory``: where the account is kept for the next time; None: nowhere. ``is_full``: begin
    anew all the same.
    """
    states: dict[str, int] = {}
    unaccounted: list[str] = []
    twice: list[str] = []
    accepted = 0
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    marks = low_water_marks(queue)
    for partition in range(queue.partitions):
        file = None if directory is None else directory / f"{partition}.account"
        kept = Kept(0, b"") if file is None or is_full else _read(file)
        account, kept = _account(queue, partition, kept, marks)
        number, found, lost, doubled = account.result()
        accepted += number + sum(kept.over.values())
        for counts in (found, kept.over):
            for state, count in counts.items():
                states[state] = states.get(state, 0) + count
        unaccounted += lost
        twice += doubled
        if file is not None:
            _write(file, account, kept)
    return AuditReport(accepted, states, sorted(unaccounted), sorted(twice))


def shift(old: Path, new: Path, starts: Sequence[int]) -> None:
    """Let the accounts kept in ``old`` go on in ``new``, where a log begins with what was at
    ``starts``, one offset a partition, in the log they are of.
    """
    new.mkdir(parents=True, exist_ok=True)
    for partition, start in enumerate(starts):
        kept = _read(old / f"{partition}.account")
        if kept.said and kept.next_offset >= start:
            kept.next_offset -= start
            _replace(new / f"{partition}.account", kept)


def _account(
    queue: Queue, partition: int, kept: Kept, marks: Mapping[Position, int]
) -> tuple[Audit, Kept]:
    """One partition's account, and how far its events were read."""
    deferred = _keys(queue, DEFERRED, partition)
    oldest, end = queue.offsets(EVENTS)[partition]
    account = Audit.load(kept.said) if kept.said and kept.next_offset <= end else None
    if account is None:
        account, kept = Audit(), Kept(oldest, b"")
    following = kept.next_offset
    for batch in stretch(queue, EVENTS, partition, offset=following):
        account.events(batch)
        following = batch.next_offsets()[EVENTS, partition]
    account.deferred(deferred)
    account.scheduled(_keys(queue, SCHEDULED, partition))
    for topic in SEND_TOPICS:
        for batch in stretch(queue, topic, partition, offset=marks[topic, partition]):
            account.pending(batch)
    for batch in stretch(queue, DEAD_LETTERS, partition):
        account.dead(batch)
    return account, Kept(following, b"", kept.over)


def _keys(queue: Queue, topic: str, partition: int) -> list[bytes]:
    keys: list[bytes] = []
    after: bytes | None = None
    while page := queue.compacted(topic, partition, after):
        keys += [key for key, _ in page]
        after = page[-1][0]
    return keys


def _read(file: Path) -> Kept:
    try:
        return _decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return Kept(0, b"")


def _write(file: Path, account: Audit, kept: Kept) -> None:
    over = dict(kept.over)
    for state, count in account.forget((time.time_ns() // 1_000_000) - KEPT_S * 1_000).items():
        over[state] = over.get(state, 0) + count
    _replace(file, Kept(kept.next_offset, account.save(), over))


def _replace(file: Path, kept: Kept) -> None:
    draft = file.with_suffix(".draft")
    draft.write_bytes(msgspec.msgpack.encode(kept))
    draft.replace(file)
