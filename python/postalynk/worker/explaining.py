"""Sampled decisions: some deliveries carry why they go where they go to their attempt's event.

**Model.** One delivery in so many, counted as they come, and every one of the organizations chosen.
A sampled decision is taken again under observation, within the policy's time; what it read, the
line that answered and the answer are noted with the delivery. The others cost only the count.
**Impure.** A hook that answers otherwise when asked again reads what it is not given: that is
counted and stands in the note.
**Law `one_in`.** Of any ``n`` deliveries in a row, ``n // one_in`` or one more are sampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from postalynk.observability import get_logger
from postalynk.routing import Interrupted, explain, policies_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postalynk.policy import Message, Now, Policies, Pools
    from postalynk.routing import Explanation, Resolved
    from postalynk.routing.budget import Budget
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

# A note is for a person: what a policy walked over at length is cut.
MAX_READS = 40
MAX_TEXT = 200


class Batch(Protocol):
    """What a note is left with: the engine's batch."""

    def explain(self, index: int, text: str) -> None:
        """Keep ``text`` with that delivery's attempt."""
        ...


class Sampler:
    """Says which deliveries of the batches that pass are explained."""

    def __init__(self, one_in: int, organizations: frozenset[str]) -> None:
        """``one_in`` 0: none but those of ``organizations``."""
        self._one_in = one_in
        self._organizations = organizations
        self._left = one_in

    def places(self, deliveries: Sequence[Message]) -> Iterator[int]:
        """Their indices in this batch, in order."""
        chosen = set()
        if self._organizations:
            chosen = {
                place
                for place, delivery in enumerate(deliveries)
                if delivery.org.id in self._organizations
            }
        if self._one_in:
            first = self._left - 1
            chosen.update(range(first, len(deliveries), self._one_in))
            self._left = (first - len(deliveries)) % self._one_in + 1
        yield from sorted(chosen)


class Explain:
    """Explains what `Sampler` chose and notes it with the batch."""

    def __init__(self, parts: Parts, budget: Budget) -> None:
        options = parts.options
        self._parts = parts
        self._budget = budget
        self._sampler = Sampler(options.explain_one_in, options.explain_organizations)

    def note(
        self,
        batch: Batch,
        deliveries: Sequence[Message],
        resolved: Resolved,
        policies: Policies,
        seen: tuple[Pools, Now],
    ) -> None:
        """Note explanations with ``batch``; ``seen``: the pools and the time it was decided by."""
        for place in self._sampler.places(deliveries):
            told = self._explain(policies, deliveries[place], seen)
            if told is None:
                continue
            pool, fallback, *_ = resolved.routes[resolved.choice[place]]
            if (told.pool, tuple(told.fallback)) != (pool, tuple(fallback)):
                told = msgspec.structs.replace(told, is_repeatable=False)
            if not told.is_repeatable:
                self._parts.metrics.policy_impure.labels(function=told.function).inc()
                log.error(
                    "a decision came out differently when asked again",
                    function=told.function, line=told.line, version=told.version,
                )  # fmt: skip
            batch.explain(place, note_of(told))

    def _explain(
        self, policies: Policies, delivery: Message, seen: tuple[Pools, Now]
    ) -> Explanation | None:
        version = policies_for(policies, delivery.org.id)
        # Three decisions: under observation, as a worker decides, and once more.
        told = self._budget.run(3, lambda: explain(version, delivery, *seen))
        return None if isinstance(told, Interrupted) else told


def note_of(told: Explanation) -> str:
    """An explanation as it is stored: JSON, long texts cut."""
    reads = [
        msgspec.structs.replace(read, value=read.value[:MAX_TEXT])
        for read in told.reads[:MAX_READS]
    ]
    brief = msgspec.structs.replace(told, reads=reads, answer=told.answer[: 2 * MAX_TEXT])
    return msgspec.json.encode(brief).decode()
