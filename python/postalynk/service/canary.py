"""Watching a canary: counts per version from ``email.events``, and the rollback when it is worse.

**Model.** Every attempt's event names the version that routed it. Events since the trial began are
counted, first attempts only: a retry is no independent witness. Failures of other hooks than
`route` are in no event; who runs them counts them. When `postalynk.routing.trial` condemns the
candidate, the change is the operator's own rollback, so it is durable, and every worker takes it at
its next batch.
**After a restart** the events are counted again from the beginning of the trial.
**Not here.** What is compared and how sure one must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from postalynk.observability import get_logger
from postalynk.recorder.codec import RecordCodec
from postalynk.routing import Tally, verdict
from postalynk.service.accounting import positions_since, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postalynk.control.operations import Control
    from postalynk.observability import Metrics
    from postalynk.queue.protocol import Position, Queue
    from postalynk.recorder.projection import Codec
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

EVENTS = ("email.events",)


class Trial(msgspec.Struct):
    """One canary's counts so far."""

    version: str
    since_us: int
    positions: dict[Position, int]
    """Where to read on."""
    candidate: Tally
    elsewhere: Tally

    def count(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Count the first attempts of a batch of events."""
        for attempt, version, kind, failed, at_us in zip(
            columns["attempt"], columns["policy_version"], columns["kind"], columns["fallback"],
            columns["at_us"], strict=True,
        ):  # fmt: skip
            # What no policy routed, such as a domain without MX, says nothing about one.
            if attempt != 1 or not version or at_us < self.since_us:
                continue
            tally = self.candidate if version == self.version else self.elsewhere
            tally.attempts += 1
            tally.deferred += kind == "deferred"
            tally.bounced += kind == "bounced"
            tally.failed += bool(failed)


class CanaryWatch:
    """Counts and judges; `once` is called every second, by one thread at a time."""

    def __init__(
        self, queue: Queue, control: Control, parts: Parts, codec: Codec | None = None
    ) -> None:
        """``codec``: how events are decoded; None: as the recorder does."""
        self._codec: Codec = codec or RecordCodec()
        self._queue = queue
        self._control = control
        self._parts = parts
        self._trial: Trial | None = None

    @property
    def is_on(self) -> bool:
        """Whether a canary is on trial, or was when we last looked."""
        return self._trial is not None or bool(self._control.directory.snapshot.in_force.canary)

    def once(self) -> None:
        """Read what is new, and take the canary back if it has to go."""
        in_force = self._control.directory.snapshot.in_force
        metrics = self._parts.metrics
        metrics.policy_canary_share.set(in_force.canary_share)
        trial = self._trial
        if trial is None or (trial.version, trial.since_us) != (
            in_force.canary,
            in_force.canary_since_us,
        ):
            trial = self._trial = self._begin(in_force.canary, in_force.canary_since_us)
        if trial is None:
            return
        before = [msgspec.structs.astuple(tally) for tally in (trial.candidate, trial.elsewhere)]
        for batch in read(self._queue, EVENTS, trial.positions):
            trial.positions.update(batch.next_offsets())
            trial.count(self._codec.decode(batch).events())
        _count(metrics, trial, before)
        candidate, elsewhere = self.tallies()
        why = verdict(candidate, elsewhere)
        if why and self._control.end_canary(trial.version, why):
            metrics.policy_rollbacks.inc()
            log.error("the canary was taken back", version=trial.version, reason=why)

    def tallies(self) -> tuple[Tally, Tally]:
        """The candidate's counts and the others', failures of the other hooks included."""
        trial = self._trial
        if trial is None:
            return Tally(), Tally()
        faults = self._parts.faults.copy()
        return (
            _with(trial.candidate, faults.pop(trial.version, 0)),
            _with(trial.elsewhere, sum(faults.values())),
        )

    def _begin(self, version: str, since_us: int) -> Trial | None:
        self._parts.faults.clear()
        if not version:
            return None
        return Trial(
            version, since_us, positions_since(self._queue, EVENTS, since_us), Tally(), Tally()
        )


def _with(tally: Tally, faults: int) -> Tally:
    # Never more failures than attempts: a rate above 1 is none.
    failed = min(tally.attempts, tally.failed + faults)
    return Tally(tally.attempts, tally.deferred, tally.bounced, failed)


def _count(metrics: Metrics, trial: Trial, before: list[tuple[int, ...]]) -> None:
    for arm, tally, old in zip(
        ("canary", "rest"), (trial.candidate, trial.elsewhere), before, strict=True
    ):
        names = tally.__struct_fields__
        for name, was, now in zip(names, old, msgspec.structs.astuple(tally), strict=True):
            metrics.policy_trial.labels(arm=arm, what=name).inc(now - was)
