"""Operations about the queue: what is in it, what died in it, what waits, what is done again."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from postalynk.errors import ControlError
from postalynk.queue.topics import DEFERRED, SCHEDULED
from postalynk.service import accounting, auditing, dead_letter, resending, waiting
from postalynk.service.dead_letter import Filter, Pace
from postalynk.service.projecting import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from postalynk.queue.protocol import Queue
    from postalynk.settings import Settings
    from postalynk.worker.parts import Parts

NAMES = frozenset(
    {
        "audit",
        "dead_letters",
        "dead_letters_top",
        "drop_letters",
        "queue_state",
        "redrive",
        "show_letter",
    }
)
LIVE_NAMES = frozenset(
    {"cancel_waiting", "flush_waiting", "release_held", "resend", "resume_partitions"}
)
T = TypeVar("T")

CLOCKS_US = 3_600_000_000
"""How far apart the clocks of those who make ids and those who keep the log may be."""
TOP_BY = ("reason", "org", "version", "policy_version", "topic")


class QueueOperations:
    """What the queue alone can answer; mixed into `Operations`."""

    def __init__(self, queue: Queue, settings: Settings, directory: Path) -> None:
        """``directory``: where audits are kept."""
        self._log = queue
        self._said = settings
        self._kept = directory

    def audit(self, is_full: bool = False) -> auditing.AuditReport:
        """G1, checked; ``is_full``: without what the last audit left."""
        return auditing.audit(self._log, self._kept / "audit", is_full=is_full)

    def queue_state(self) -> dict[str, Any]:
        """Depth per lane; organizations and sites are known only while a worker runs."""
        return {
            "lanes": accounting.depth(self._log),
            "deferred": accounting.live_keys(self._log, DEFERRED),
            "scheduled": accounting.live_keys(self._log, SCHEDULED),
            "in_flight": 0,
            "organizations": {},
            "sites": {},
            "halted": [],
        }

    def dead_letters(self, **which: Any) -> list[dead_letter.Letter]:
        """What could not be processed."""
        return dead_letter.letters(self._log, _filter(which))

    def show_letter(self, letter_id: str) -> dict[str, Any]:
        """One of them with its record, in base64."""
        told = dead_letter.shown(self._log, letter_id)
        return {**told, "record": base64.b64encode(told["record"]).decode()}

    def dead_letters_top(self, by: str, **which: Any) -> list[dead_letter.Group]:
        """They are counted by what they have in common."""
        if by not in TOP_BY:
            raise ControlError(f"letters have no {by!r}", fix=f"use one of {', '.join(TOP_BY)}")
        return dead_letter.top(self._log, by, _filter(which))

    def redrive(
        self, is_dry_run: bool, rate_per_s: float | None = None, **which: Any
    ) -> dead_letter.Redrive:
        """Put dead letters back."""
        per_s = rate_per_s or self._said.dead_letters.redrive_per_s
        chosen = dead_letter.letters(self._log, _filter(which))
        return self.put_back(chosen, "command", Pace(per_s), is_dry_run=is_dry_run)

    def put_back(
        self, chosen: Sequence[dead_letter.Letter], by: str, pace: Pace, *, is_dry_run: bool
    ) -> dead_letter.Redrive:
        """Put these back and count them; ``by``: command or rule."""
        done = dead_letter.redrive(self._log, chosen, pace, self._revived, is_dry_run=is_dry_run)
        self._count_redriven(by, 0 if is_dry_run else len(done.redriven))
        return done

    def drop_letters(self, is_dry_run: bool, **which: Any) -> dead_letter.Dropped:
        """Give dead letters up."""
        chosen = dead_letter.letters(self._log, _filter(which))
        dropped = dead_letter.drop(self._log, chosen, is_dry_run=is_dry_run)
        self._count_dropped(0 if is_dry_run else len(chosen))
        return dropped

    def _revived(self, _topic: str, _partition: int, _key: bytes) -> None:
        """Nobody keeps times while no worker runs; the next start loads them."""

    def _count_redriven(self, by: str, letters: int) -> None:
        """No metrics without a process."""

    def _count_dropped(self, letters: int) -> None:
        """No metrics without a process."""


class LiveQueueOperations(QueueOperations):
    """The same beside a running worker, and what only it can do."""

    def __init__(self, parts: Parts | None) -> None:
        """``parts`` None: a process without a worker, which has none of those operations."""
        self._sending = parts

    @property
    def _parts(self) -> Parts:
        assert self._sending is not None, "offered only where there is a worker"
        return self._sending

    def flush_waiting(self, is_dry_run: bool, **choice: Any) -> waiting.Waiting:
        """Let deferred and scheduled mail go at once."""
        return self._waiting(is_dry_run, choice, waiting.flushed, "sent at once by the operator")

    def cancel_waiting(self, is_dry_run: bool, **choice: Any) -> waiting.Waiting:
        """Take deferred and scheduled mail back."""
        return self._waiting(is_dry_run, choice, waiting.cancelled, "cancelled by the operator")

    def resend(
        self, is_dry_run: bool, message_id: str | None, state: str | None, **which: Any
    ) -> resending.Resent:
        """Send again what is over."""
        ids = () if message_id is None else _ids([message_id])
        if state not in {None, *resending.OVER}:
            fix = f"use one of {', '.join(resending.OVER)}"
            raise ControlError(f"no delivery ends {state!r}", fix=fix)
        chosen = resending.Chosen(ids, state)
        stretch = _known(which, Stretch)
        return resending.resend(self._parts, stretch, chosen, is_dry_run=is_dry_run)

    def release_held(
        self, is_dry_run: bool, message_ids: Sequence[str], org: str | None, is_all: bool
    ) -> resending.Resent:
        """Send again what is held in doubt."""
        if not (message_ids or org or is_all):
            raise ControlError("nothing is chosen", fix="give message ids or --org, or --all")
        ids = _ids(message_ids)
        # No record is older than the id of its message, but for a clock that was put back.
        since_us = min((made_at_us(id_) for id_ in ids), default=0)
        stretch = Stretch(max(since_us - CLOCKS_US, 0), self._parts.clock() + CLOCKS_US, org)
        chosen = resending.Chosen(ids, resending.HELD)
        return resending.resend(self._parts, stretch, chosen, is_dry_run=is_dry_run)

    def resume_partitions(self, partition: int | None = None) -> list[int]:
        """Let halted partitions go on; what was held in them becomes dead letters."""
        return self._parts.halts.resume(partition)

    def _waiting(
        self,
        is_dry_run: bool,
        told: dict[str, Any],
        act: Callable[[Parts, waiting.Choice, str], waiting.Waiting],
        reason: str,
    ) -> waiting.Waiting:
        is_all = told.pop("is_all", False)
        choice = _known(told, waiting.Choice)
        if not is_all:
            choice.check()
        if is_dry_run:
            cancels = act is waiting.cancelled
            return waiting.counted(self._parts.queue, choice, cancels=cancels)
        return act(self._parts, choice, reason)

    def _revived(self, topic: str, partition: int, key: bytes) -> None:
        # Due at once, so the record is read again; one that is due later gets its time then.
        if self._sending is None:
            return
        if topic == DEFERRED:
            now_us = time.time_ns() // 1_000
            self._parts.engine.add_deferred(partition, [(key, now_us)])
        else:
            self._parts.schedule.revived(partition, key)

    def _count_redriven(self, by: str, letters: int) -> None:
        if self._sending is not None:
            self._parts.metrics.dead_letters_redriven.labels(by=by).inc(letters)

    def _count_dropped(self, letters: int) -> None:
        if self._sending is not None:
            self._parts.metrics.dead_letters_dropped.inc(letters)


def _ids(texts: Sequence[str]) -> tuple[str, ...]:
    for text in texts:
        try:
            uuid.UUID(text)
        except ValueError as error:
            fix = "give the id POST /emails answered with"
            raise ControlError(f"{text!r} is no message id", fix=fix) from error
    return tuple(texts)


def made_at_us(message_id: str) -> int:
    """When it was accepted, by the first 48 bits of its id (UUIDv7)."""
    return int.from_bytes(uuid.UUID(message_id).bytes[:6], "big") * 1_000


def _filter(told: dict[str, Any]) -> Filter:
    return _known(told, Filter)


def _known(told: dict[str, Any], kind: type[T]) -> T:
    """A struct of the arguments given; an unknown one is refused."""
    try:
        return msgspec.convert(told, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ControlError(str(error), fix="use the matching release's CLI") from error
