"""Dead letters: what cannot be decoded goes to ``email.dlq`` whole, with its reason (G7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from postalynk import __version__
from postalynk.engine import encode_dead_letter
from postalynk.observability import get_logger
from postalynk.queue.topics import DEAD_LETTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postalynk.queue.protocol import Append
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

UNDECODABLE = "undecodable"


class Dead(NamedTuple):
    """A record that cannot be processed, and where it stood."""

    topic: str
    partition: int
    offset: int
    detail: str
    value: bytes
    key: bytes | None = None
    """Of a compacted topic."""


def bury(parts: Parts, dead: Sequence[Dead], then: Sequence[Append] = ()) -> None:
    """Append dead letters and, after them, ``then``; both are durable when it returns.

    A crash in between buries a record again: a dead letter twice is better than none.
    """
    at_us = parts.clock()
    letters: list[Append] = []
    for topic, partition, offset, detail, value, key in dead:
        letter = encode_dead_letter(
            UNDECODABLE,
            detail,
            topic,
            partition,
            offset,
            at_us,
            value,
            key=key,
            version=__version__,
            policy_version=parts.policies.version,
        )
        letters.append((DEAD_LETTERS, partition, None, letter))
        log.error("dead letter", topic=topic, partition=partition, offset=offset, reason=detail)
    parts.queue.append(letters)
    if then:
        parts.queue.append(then)
    parts.metrics.dead_letters.labels(reason=UNDECODABLE).inc(len(letters))
