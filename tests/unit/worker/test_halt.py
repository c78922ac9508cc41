"""Too many bad records halt their partition and no other; nothing is lost, and it goes on again."""

from __future__ import annotations

from postalynk.worker.dead import Dead
from postalynk.worker.halt import Halts

TOPIC = "email.send.normal"


def dead(offset: int, partition: int = 1) -> Dead:
    """A record that cannot be processed."""
    return Dead(TOPIC, partition, offset, "it is bad", b"x")


def read(halts: Halts, *offsets: int, end: int, partition: int = 1) -> list[int]:
    """The offsets that are to be buried of a batch up to ``end``."""
    some = [dead(offset, partition) for offset in offsets]
    return [record.offset for record in halts.judge(some, {(TOPIC, partition): end})]


def test_a_run_halts_its_partition_and_no_other() -> None:
    halts = Halts(max_run=3, max_ratio=1.0)
    assert read(halts, 0, 1, 2, end=3) == [0, 1, 2]
    assert read(halts, 0, 1, end=2, partition=2) == [0, 1]
    assert read(halts, 3, 4, end=5) == []
    (halted,) = halts.halted()
    assert (halted.partition, halted.held) == (1, 2)
    assert halted.why.startswith("4 records in a row cannot be processed")
    assert read(halts, 2, end=3, partition=2) == [2]


def test_single_bad_records_among_good_ones_halt_nothing() -> None:
    halts = Halts(max_run=3, max_ratio=0.5)
    for number in range(500):
        assert read(halts, number * 4, end=number * 4 + 4) == [number * 4]
    assert halts.halted() == []


def test_a_share_halts_once_enough_was_seen() -> None:
    halts = Halts(max_run=0, max_ratio=0.1)
    assert read(halts, end=1) == []
    assert read(halts, end=150) == []
    assert read(halts, *range(150, 190, 2), end=190) == list(range(150, 190, 2))
    buried = read(halts, *range(190, 290, 2), end=290)
    assert 0 < len(buried) < 50
    assert halts.halted()[0].why.startswith("10% of its records")


def test_resumed_it_gives_back_what_was_held_and_counts_anew() -> None:
    halts = Halts(max_run=1, max_ratio=1.0)
    assert read(halts, 0, 1, 2, end=3) == [0]
    assert halts.resume(2) == []
    assert halts.released() == []
    assert halts.resume(1) == [1]
    assert [record.offset for record in halts.released()] == [1, 2]
    assert halts.released() == []
    assert halts.halted() == []
    assert read(halts, 3, end=4) == [3]
