"""Dead letters: finding them, putting them back, giving them up.

**Model.** ``email.dlq`` is an append topic, so nothing in it is ever changed. A letter that was put
back, or given up, is followed by a marker: a dead letter with the reason ``redriven`` or
``dropped`` whose origin is the first letter's place. The record goes back as the bytes it was,
under the same message id. Into an append topic, record and marker go in one atomic append; into a
compacted one the record goes first: a crash in between puts it back twice and loses nothing.
**Seen before.** The same record may die, be put back, and die again. Its letter then counts all of
these, and says when it was seen first and last.
**Memory.** Letters are listed without their records, which are read again when they go back.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from postalynk.engine import decode_dead_letter, encode_dead_letter
from postalynk.errors import ControlError
from postalynk.queue.reading import stretch
from postalynk.queue.topics import DEAD_LETTERS, DEFERRED, EVENTS, SCHEDULED, SEND_TOPICS
from postalynk.service.accounting import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postalynk.queue.protocol import Append, Queue

REDRIVEN = "redriven"
DROPPED = "dropped"
APPENDED = (*SEND_TOPICS, EVENTS)
COMPACTED = (DEFERRED, SCHEDULED)
"""Their letters go back under the key they had; those of releases before keys were kept cannot."""
CHUNK_S = 0.1


class Letter(msgspec.Struct, frozen=True):
    """A dead letter without the record in it."""

    id: str
    """``PARTITION:OFFSET`` in ``email.dlq``."""
    at_us: int
    topic: str
    """Where it came from, with `source_partition` and `source_offset`."""
    source_partition: int
    source_offset: int
    reason: str
    detail: str
    message_id: str | None
    org: str
    key: str | None
    """Of a compacted topic, in hexadecimal digits."""
    version: str
    """Of the Postalynk that could not process it; empty: older than 0.2."""
    policy_version: str
    size_bytes: int
    count: int
    """How often this record was put here."""
    first_at_us: int
    last_at_us: int


class Filter(msgspec.Struct, frozen=True):
    """Which letters are meant; None fits all."""

    reason: str | None = None
    org: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    version: str | None = None
    id: str | None = None
    """Of the letter or of its message."""

    def fits(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return (
            self.reason in {None, letter.reason}
            and self.org in {None, letter.org}
            and self.version in {None, letter.version}
            and self.id in {None, letter.id, letter.message_id}
            and (self.since_us or 0) <= letter.at_us
            and (self.until_us is None or letter.at_us < self.until_us)
        )


class Group(msgspec.Struct, frozen=True):
    """Letters that have something in common."""

    name: str
    letters: int
    organizations: int
    first_at_us: int
    last_at_us: int


class Redrive(msgspec.Struct, frozen=True):
    """What went back, or would."""

    is_dry_run: bool
    redriven: list[Letter]
    refused: list[Letter]
    """Letters that cannot go back: nobody noted the key they had."""


class Dropped(msgspec.Struct, frozen=True):
    """What was given up, or would be."""

    is_dry_run: bool
    dropped: list[Letter]


class Pace(NamedTuple):
    """How fast letters go back."""

    per_s: float
    sleep: Callable[[float], None] = time.sleep


def letters(queue: Queue, which: Filter) -> list[Letter]:
    """The letters that were neither put back nor given up, oldest first."""
    found: dict[str, Letter] = {}
    seen: dict[bytes, tuple[int, int]] = {}
    for batch in read(queue, (DEAD_LETTERS,), {}):
        for _, partition, offset, at_us, value in batch.rows():
            letter, record = _decoded(partition, offset, at_us, value)
            if letter.topic == DEAD_LETTERS and letter.reason in {REDRIVEN, DROPPED}:
                found.pop(f"{letter.source_partition}:{letter.source_offset}", None)
                continue
            what = record or letter.id.encode()
            name = hashlib.blake2b(what, key=letter.topic.encode()[:64], digest_size=16).digest()
            count, first_at_us = seen.get(name, (0, at_us))
            seen[name] = (count + 1, first_at_us)
            found[letter.id] = msgspec.structs.replace(
                letter, count=count + 1, first_at_us=first_at_us
            )
    return sorted(filter(which.fits, found.values()), key=lambda letter: letter.at_us)


def shown(queue: Queue, id_: str) -> dict[str, Any]:
    """One letter with its record (bytes), by its id or its message's; raises ControlError."""
    fitting = letters(queue, Filter(id=id_))
    if not fitting:
        raise ControlError(f"there is no dead letter {id_}", fix="list them: postalynk dlq ls")
    letter = fitting[-1]
    ((_, record),) = _records(queue, [letter])
    return {**msgspec.to_builtins(letter), "record": record}


def top(queue: Queue, by: str, which: Filter) -> list[Group]:
    """Letters counted by reason, org, version, policy_version or topic, the most first."""
    groups: dict[str, list[Letter]] = {}
    for letter in letters(queue, which):
        groups.setdefault(str(getattr(letter, by)), []).append(letter)
    return sorted(
        (
            Group(
                name,
                len(some),
                len({letter.org for letter in some}),
                min(letter.first_at_us for letter in some),
                max(letter.last_at_us for letter in some),
            )
            for name, some in groups.items()
        ),
        key=lambda group: (-group.letters, group.name),
    )


def redrive(
    queue: Queue,
    chosen: Sequence[Letter],
    pace: Pace,
    revived: Callable[[str, int, bytes], None],
    *,
    is_dry_run: bool,
) -> Redrive:
    """Put letters back where they came from; a dry run only says which.

    ``revived`` is told (topic, partition, key) of what is back in a compacted topic.
    """
    fit = [letter for letter in chosen if _can_go_back(letter)]
    refused = [letter for letter in chosen if not _can_go_back(letter)]
    if not is_dry_run:
        size = max(1, round(pace.per_s * CHUNK_S))
        for place in range(0, len(fit), size):
            if place:
                pace.sleep(size / pace.per_s)
            for letter, record in _records(queue, fit[place : place + size]):
                _put_back(queue, letter, record, revived)
    return Redrive(is_dry_run, fit, refused)


def drop(queue: Queue, chosen: Sequence[Letter], *, is_dry_run: bool) -> Dropped:
    """Give letters up: they are listed no more, and stay counted as dead-lettered."""
    if not is_dry_run and chosen:
        now_us = time.time_ns() // 1_000
        queue.append([_marker(letter, DROPPED, now_us) for letter in chosen])
    return Dropped(is_dry_run, list(chosen))


def counted(chosen: Sequence[Letter]) -> dict[str, int]:
    """Letters per reason."""
    return dict(Counter(letter.reason for letter in chosen))


def _can_go_back(letter: Letter) -> bool:
    return letter.topic in APPENDED or (letter.topic in COMPACTED and letter.key is not None)


def _put_back(
    queue: Queue, letter: Letter, record: bytes, revived: Callable[[str, int, bytes], None]
) -> None:
    marker = _marker(letter, REDRIVEN, time.time_ns() // 1_000)
    partition = letter.source_partition
    if letter.key is None:
        queue.append([(letter.topic, partition, None, record), marker])
        return
    key = bytes.fromhex(letter.key)
    queue.append([(letter.topic, partition, key, record)])
    queue.append([marker])
    revived(letter.topic, partition, key)


def _marker(letter: Letter, reason: str, now_us: int) -> Append:
    partition, _, offset = letter.id.partition(":")
    marker = encode_dead_letter(
        reason, letter.reason, DEAD_LETTERS, int(partition), int(offset), now_us, b""
    )
    return DEAD_LETTERS, int(partition), None, marker


def _records(queue: Queue, chosen: Sequence[Letter]) -> Iterator[tuple[Letter, bytes]]:
    """The records of some letters, read again, in order of their places."""
    wanted: dict[int, dict[int, Letter]] = {}
    for letter in chosen:
        number, _, place = letter.id.partition(":")
        wanted.setdefault(int(number), {})[int(place)] = letter
    for partition, places in wanted.items():
        left = len(places)
        for batch in stretch(queue, DEAD_LETTERS, partition, offset=min(places)):
            for _, _, offset, at_us, value in batch.rows():
                if offset in places:
                    left -= 1
                    yield places[offset], _decoded(partition, offset, at_us, value)[1]
            if not left:
                break


def _decoded(partition: int, offset: int, at_us: int, value: bytes) -> tuple[Letter, bytes]:
    told = decode_dead_letter(value)
    record, key = told.pop("record"), told.pop("key")
    assert isinstance(record, bytes)
    letter = msgspec.convert(
        {
            **told,
            "id": f"{partition}:{offset}",
            "at_us": at_us,
            "key": key.hex() if isinstance(key, bytes) else None,
            "size_bytes": len(record),
            "count": 1,
            "first_at_us": at_us,
            "last_at_us": at_us,
        },
        Letter,
    )
    return letter, record
