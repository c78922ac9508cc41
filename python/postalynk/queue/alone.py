"""Owning everything: what a queue of one process does where a shared one has members of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.queue.protocol import Shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postalynk.queue.protocol import Consumer, Owner, Queue


def join(queue: Queue, group: str, topics: Sequence[str], owner: Owner) -> Consumer:
    """A reader of the partitions that fall to us.

    On a shared queue ``owner`` hears of them inside `poll` and `close`. Otherwise all of them are
    assigned now, and never revoked: nobody else can have them while this process lives.
    """
    if isinstance(queue, Shared):
        return queue.member(group, topics, owner)
    consumer = queue.consumer(group, topics)
    owner.assigned(range(queue.partitions))
    return consumer
