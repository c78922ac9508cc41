"""Owning partitions: all of them on a queue of one process, a share of them on Kafka."""

from __future__ import annotations

import time
from collections.abc import Sequence

from postalynk.queue import join
from postalynk.queue.protocol import Consumer, Queue
from tests.contract.backends import BACKENDS, LOG, PARTITIONS
from tests.contract.reading import records


class Told:
    """What an owner heard, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[int, ...]]] = []
        self.owned: set[int] = set()

    def assigned(self, partitions: Sequence[int]) -> None:
        self.heard.append(("assigned", tuple(partitions)))
        self.owned |= set(partitions)

    def revoked(self, partitions: Sequence[int]) -> None:
        self.heard.append(("revoked", tuple(partitions)))
        self.owned -= set(partitions)

    def lost(self, partitions: Sequence[int]) -> None:
        self.heard.append(("lost", tuple(partitions)))
        self.owned -= set(partitions)


def poll_until(told: Told, count: int, *members: Consumer) -> list[int]:
    """Poll until so many partitions are owned; the partitions that records came from."""
    came: list[int] = []
    deadline = time.monotonic() + 60
    while len(told.owned) != count:
        assert time.monotonic() < deadline, told.heard
        for member in members:
            came += [row[1] for row in member.poll(100, 1 << 20, 100).rows()]
    return came


def test_one_member_owns_all_and_hears_of_it_first(queue: Queue) -> None:
    for partition in range(PARTITIONS):
        queue.append(records(b"a", partition=partition))
    told = Told()
    member = join(queue, "g", [LOG], told)
    came = poll_until(told, PARTITIONS, member)
    while len(came) < PARTITIONS:
        came += [row[1] for row in member.poll(100, 1 << 20, 1_000).rows()]
    assert sorted(came) == list(range(PARTITIONS))
    member.commit({(LOG, 1): (1, b"note")})
    assert member.committed() == {(LOG, 1): (1, b"note")}
    member.close()


def test_a_second_member_gets_its_share() -> None:
    first, second = Told(), Told()
    with BACKENDS["kafka"].place() as place:
        queue, other = place(), place()
        other._member = "another"  # type: ignore[attr-defined]
        one = join(queue, "g", [LOG], first)
        poll_until(first, PARTITIONS, one)
        two = join(other, "g", [LOG], second)
        poll_until(second, PARTITIONS // 2, one, two)
        assert len(first.owned) == PARTITIONS // 2
        assert first.owned | second.owned == set(range(PARTITIONS))
        assert first.heard[-1][0] == "revoked"
        two.close()
        one.close()
