"""Step 4, record: outcomes become events and deferrals, durable before anything moves on.

**Order.** (1) decide when each failure is tried again, (2) append the events, (3) append upserts
and tombstones of ``email.deferred``, (4) tell the engine, which only then lets the low-water
marks move. A crash after any of them repeats work and loses nothing: each write is idempotent by
(message, recipient, attempt), and a deferral that (3) did not reach is made up for from the
events.
**Stopped in between.** Where partitions are shared, this process may be stopped for longer than
its session while it appends, and another worker have the partitions when it goes on. Its events
then stand in the log behind what the other one read: those that say "delivered" are followed by
one that calls them in doubt. A deferral so late would bring back what is over: it is appended only
while the partitions are ours for longer than the append may take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.queue.protocol import Shared
from postalynk.routing import FALLBACK_RETRY, Failed, Fault, Interrupted, Resolver, arms, due_at
from postalynk.worker.route import count_faults, over_budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postalynk.engine import Failure, OutcomeBatch
    from postalynk.policy import Policies, Retry
    from postalynk.routing.budget import Budget
    from postalynk.worker.commit import Fence
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

MAX_OUTCOMES = 1_000
# Outcomes wait no longer than this for company: it bounds what a crash leaves in doubt (G2).
WAIT_MS = 100
LOOK_AGAIN_S = 0.1


class Decision(NamedTuple):
    """What becomes of a failure: tried again at ``due_at_us``, or (None) not, for ``reason``."""

    entry: int
    """Its index in the batch."""
    due_at_us: int | None
    reason: str
    holds: tuple[str, str] | None = None
    """The path (source, receiver) that is backed off until then, too."""


class Record:
    """Makes outcomes durable."""

    def __init__(self, parts: Parts, budget: Budget, fence: Fence) -> None:
        self._parts = parts
        self._budget = budget
        self._fence = fence
        queue = parts.queue
        is_shared = isinstance(queue, Shared)
        self._deferring_s = fence.half_s if is_shared else 0.0
        self._deferring = queue.hurried(self._deferring_s) if isinstance(queue, Shared) else queue

    def once(self) -> int:
        """Record one batch of outcomes; how many there were."""
        engine, queue = self._parts.engine, self._parts.queue
        # The partitions may be another worker's; a moment later we know, and the engine calls what
        # it gives out ours or late.
        self._wait_for_ownership()
        batch = engine.outcomes(MAX_OUTCOMES, WAIT_MS)
        count = len(batch)
        if not count:
            return 0
        failures = batch.failures()
        decisions = self._decide(failures)
        for decision in decisions:
            if decision.due_at_us is None:
                batch.expire(decision.entry, decision.reason)
            else:
                batch.schedule(decision.entry, decision.due_at_us)
        events = batch.events()
        offsets = queue.append(events) if events else []
        self._defer(batch)
        engine.recorded(batch, offsets)
        held = [(*d.holds, d.due_at_us) for d in decisions if d.holds and d.due_at_us]
        if held:
            engine.back_off(held)
        self._parts.metrics.batch_size.labels(step="record").observe(count)
        return count

    def _wait_for_ownership(self, for_s: float = 0.0) -> bool:
        """Until the partitions are ours for certain or known to be lost; whether it had to wait."""
        if self._fence.is_valid(for_s):
            return False
        while not self._fence.is_valid(for_s) and not self._parts.ending.wait(LOOK_AGAIN_S):
            pass
        return True

    def _defer(self, batch: OutcomeBatch) -> None:
        """Append the batch's deferrals, of what is still ours."""
        while True:
            if self._wait_for_ownership(self._deferring_s) and (said := batch.withdraw()):
                log.warning("another worker took over while this was recorded", events=len(said))
                self._parts.queue.append(said)
            deferrals = batch.deferrals()
            try:
                if deferrals:
                    self._deferring.append(deferrals)
                return
            except QueueError as error:
                # They may be stored or not, and may be again: each is what its key stands for.
                if not self._deferring_s or self._parts.ending.is_set():
                    raise
                log.warning("cannot defer", **{"error.message": str(error)})

    def _decide(self, failures: Sequence[Failure]) -> list[Decision]:
        decisions: list[Decision] = []
        for arm in arms(self._parts.policies, [failure.delivery for failure in failures]):
            decisions += self._decide_arm(arm.policies, [failures[place] for place in arm.places])
        return decisions

    def _decide_arm(self, policies: Policies, failures: Sequence[Failure]) -> list[Decision]:
        """What one version says of its failures, within its own time."""
        resolver = Resolver(policies, self._parts.options.fallback_pool)
        answer = self._budget.run(len(failures), lambda: _ask(resolver, failures))
        if isinstance(answer, Interrupted):
            fault = over_budget(resolver, "retry", answer)
            count_faults(self._parts, policies.version, [fault] * len(failures))
            return [_decision(failure, FALLBACK_RETRY) for failure in failures]
        decisions, faults = answer
        count_faults(self._parts, policies.version, faults)
        return decisions


def _ask(resolver: Resolver, failures: Sequence[Failure]) -> tuple[list[Decision], list[Fault]]:
    decisions, faults = [], []
    for failure in failures:
        retry, fault = resolver.retry(failure)
        if fault is not None:
            faults.append(fault)
        decisions.append(_decision(failure, retry))
    return decisions, faults


def _decision(failure: Failure, retry: Retry) -> Decision:
    """By the organization's wish, then by the schedule."""
    if failure.kind == "in_doubt" and failure.in_doubt == "hold":
        return Decision(failure.index, None, "held: the receiver may have taken it")
    delivery = failure.delivery
    failed = Failed(
        key=f"{delivery.id} {delivery.rcpt.address}",
        attempt=failure.attempt,
        first_attempt_at_us=failure.first_attempt_at_us,
        expires_at_us=failure.expires_at_us,
    )
    due_at_us = due_at(failed, failure.at_us, retry)
    if due_at_us is not None:
        is_path = retry.scope == "path" and failure.source != ""
        holds = (failure.source, failure.receiver) if is_path else None
        return Decision(failure.index, due_at_us, "", holds)
    if failure.expires_at_us and failure.at_us >= failure.expires_at_us:
        return Decision(failure.index, None, "the message expired before it was delivered")
    return Decision(
        failure.index, None, f"not delivered within {retry.max_age} of the first attempt"
    )
