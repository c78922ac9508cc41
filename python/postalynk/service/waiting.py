"""What waits for a time, chosen by an operator: sent at once, or taken back.

**Model.** Two kinds wait: deferrals (a delivery between two attempts) and scheduled messages. A
choice names an organization, a recipient domain, a site, a tag, or several of them; all must fit.
`counted` only looks; `flushed` and `cancelled` do the same walk and act on what they meet.
**Whole messages.** A scheduled message goes or stays as one: it is flushed when any recipient fits,
and cancelled only when all do; those of which some do are counted as ``left``. It has no site
before its first attempt, so a choice by site leaves it alone.
**Races.** A deferral whose attempt is under way is left alone, too: only the engine may change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from postalynk.control.schedule import PAGE, Entry, entries_of
from postalynk.errors import ControlError
from postalynk.queue.topics import DEFERRED, SCHEDULED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postalynk.queue.protocol import Queue
    from postalynk.worker.parts import Parts

WAIT_MS, MAX_WAITS = 100, 600


class Choice(msgspec.Struct, frozen=True):
    """Which of what waits; None fits all."""

    org: str | None = None
    domain: str | None = None
    """Of the recipient, as an A-label."""
    site: str | None = None
    """Of the last attempt."""
    tag: str | None = None
    """``name=value``, or a name alone for any value."""

    def check(self) -> None:
        """Raises ControlError for a choice of everything: that must be said."""
        if not (self.org or self.domain or self.site or self.tag):
            raise ControlError(
                "nothing is chosen", fix="give --org, --domain, --site or --tag, or --all"
            )


class Waiting(msgspec.Struct, frozen=True):
    """What a choice fits, and what was done with it."""

    is_dry_run: bool
    deferred: int
    """Deliveries that wait for their next attempt."""
    scheduled: int
    """Messages that wait for a time of their own."""
    left: int
    """Deliveries under way, and scheduled messages that fit in part: nothing is done with them."""


def counted(queue: Queue, choice: Choice, *, cancels: bool) -> Waiting:
    """How many a flush, or a cancel, would meet."""
    deferred = sum(1 for _ in _deferrals(queue, choice))
    scheduled = left = 0
    for _, is_whole in _scheduled(queue, choice):
        is_met = is_whole or not cancels
        scheduled, left = scheduled + is_met, left + (not is_met)
    return Waiting(True, deferred, scheduled, left)


def flushed(parts: Parts, choice: Choice, reason: str) -> Waiting:
    """Let what fits go at once; the retry schedule goes on from there."""

    def flush(_partition: int, pairs: list[tuple[bytes, bytes]]) -> int:
        return parts.engine.flush_deferred([key for key, _ in pairs])

    deferred, left = _each_deferral(parts, choice, flush)
    scheduled = 0
    for entry, _ in _scheduled(parts.queue, choice):
        scheduled += parts.schedule.move(entry.org, entry.message_id, parts.clock(), reason)
    return Waiting(False, deferred, scheduled, left)


def cancelled(parts: Parts, choice: Choice, reason: str) -> Waiting:
    """Take back what fits; each delivery ends with an event of that kind."""

    def cancel(partition: int, pairs: list[tuple[bytes, bytes]]) -> int:
        # What is cancelled is in flight until it is recorded, and holds its record meanwhile.
        for _ in range(MAX_WAITS):
            if parts.engine.room(WAIT_MS):
                break
        return parts.engine.cancel_deferred(partition, pairs, reason)

    deferred, left = _each_deferral(parts, choice, cancel)
    scheduled = 0
    for entry, is_whole in _scheduled(parts.queue, choice):
        is_done = is_whole and parts.schedule.cancel(entry.org, entry.message_id, reason)
        scheduled, left = scheduled + is_done, left + (not is_done)
    return Waiting(False, deferred, scheduled, left)


def _each_deferral(
    parts: Parts, choice: Choice, act: Callable[[int, list[tuple[bytes, bytes]]], int]
) -> tuple[int, int]:
    """Act on the fitting deferrals a page at a time: (done, left)."""
    done = met = 0
    for partition, pairs in _fitting(parts.queue, choice):
        met += len(pairs)
        done += act(partition, pairs)
    return done, met - done


def _deferrals(queue: Queue, choice: Choice) -> Iterator[bytes]:
    for _, pairs in _fitting(queue, choice):
        yield from (key for key, _ in pairs)


def _fitting(queue: Queue, choice: Choice) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    for partition, pairs in _pages(queue, DEFERRED):
        entries = entries_of(DEFERRED, [value for _, value in pairs])
        fitting = [
            pair
            for pair, entry in zip(pairs, entries, strict=True)
            if entry is not None and _fits(choice, entry) and choice.site in {None, entry.site}
        ]
        if fitting:
            yield partition, fitting


def _scheduled(queue: Queue, choice: Choice) -> Iterator[tuple[Entry, bool]]:
    """Scheduled messages that fit, and whether all their recipients do."""
    if choice.site is not None:
        return
    for _, pairs in _pages(queue, SCHEDULED):
        for entry in entries_of(SCHEDULED, [value for _, value in pairs]):
            if entry is not None and _fits(choice, entry):
                addresses = [address for _, address in entry.recipients]
                yield entry, all(_is_at(address, choice.domain) for address in addresses)


def _pages(queue: Queue, topic: str) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    for partition in range(queue.partitions):
        after: bytes | None = None
        while pairs := queue.compacted(topic, partition, after, PAGE):
            yield partition, pairs
            after = pairs[-1][0]


def _fits(choice: Choice, entry: Entry) -> bool:
    """All but the site."""
    if choice.org not in {None, entry.org}:
        return False
    if choice.tag is not None:
        name, has_value, value = choice.tag.partition("=")
        if not any(n == name and (not has_value or v == value) for n, v in entry.tags):
            return False
    return any(_is_at(address, choice.domain) for _, address in entry.recipients)


def _is_at(address: str, domain: str | None) -> bool:
    return domain is None or address.rpartition("@")[2].lower() == domain.lower().rstrip(".")
