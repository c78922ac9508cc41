"""Dead letters over a queue in memory: found, counted, put back at a pace, given up, by rule."""

from __future__ import annotations

from typing import Any

import pytest

from postalynk.engine import encode_dead_letter
from postalynk.errors import ControlError, SettingsError
from postalynk.service import dead_letter
from postalynk.service.dead_letter import Filter, Pace
from postalynk.service.redriving import AutomaticRedrive, chosen
from postalynk.service.versions import Range
from postalynk.settings import DeadLetters, RedriveRule
from tests.fakes.queue import MemoryQueue

KEY = bytes(16) + b"\0\0\0\1"


class Clock:
    """Moves a minute at every look."""

    now_us = 1_900_000_000_000_000

    def __call__(self) -> int:
        self.now_us += 60_000_000
        return self.now_us


def bury(queue: MemoryQueue, record: bytes, reason: str = "undecodable", **more: Any) -> None:
    """One letter in partition 1."""
    topic = more.pop("topic", "email.send.normal")
    letter = encode_dead_letter(reason, "why", topic, 2, 7, queue._clock(), record, **more)
    queue.append([("email.dlq", 1, None, letter)])


def redrive(queue: MemoryQueue, which: Filter | None = None, **more: Any) -> dead_letter.Redrive:
    """Put letters back, without waiting."""
    found = dead_letter.letters(queue, which or Filter())
    pace = more.pop("pace", Pace(1_000, lambda _: None))
    revived = more.pop("revived", lambda *_: None)
    return dead_letter.redrive(queue, found, pace, revived, is_dry_run=False, **more)


@pytest.fixture
def queue() -> MemoryQueue:
    """Empty."""
    return MemoryQueue(clock=Clock())


def test_a_letter_goes_back_as_the_bytes_it_was_and_is_listed_no_more(queue: MemoryQueue) -> None:
    bury(queue, b"\x9b\x07odd")
    bury(queue, b"other", reason="unprojectable", topic="email.events")
    done = redrive(queue, Filter(reason="undecodable"))
    assert [letter.id for letter in done.redriven] == ["1:0"]
    assert queue.values("email.send.normal", 2) == [b"\x9b\x07odd"]
    assert [letter.reason for letter in dead_letter.letters(queue, Filter())] == ["unprojectable"]


def test_what_dies_again_says_how_often_and_since_when(queue: MemoryQueue) -> None:
    bury(queue, b"odd")
    (first,) = dead_letter.letters(queue, Filter())
    redrive(queue)
    bury(queue, b"odd")
    (again,) = dead_letter.letters(queue, Filter())
    assert (again.count, again.first_at_us) == (2, first.at_us)
    assert again.last_at_us > first.at_us
    shown = dead_letter.shown(queue, again.id)
    assert (shown["record"], shown["count"]) == (b"odd", 2)
    with pytest.raises(ControlError, match="no dead letter 9:9"):
        dead_letter.shown(queue, "9:9")


def test_a_deferral_goes_back_under_its_key_and_its_owner_hears_of_it(queue: MemoryQueue) -> None:
    bury(queue, b"broken", topic="email.deferred", key=KEY)
    bury(queue, b"of an old release", topic="email.deferred")
    heard: list[Any] = []
    done = redrive(queue, revived=lambda *place: heard.append(place))
    assert [letter.key for letter in done.redriven] == [KEY.hex()]
    assert len(done.refused) == 1
    assert queue.get("email.deferred", 2, [KEY]) == [b"broken"]
    assert heard == [("email.deferred", 2, KEY)]


def test_they_go_back_at_a_pace(queue: MemoryQueue) -> None:
    for number in range(25):
        bury(queue, b"%d" % number)
    slept: list[float] = []
    redrive(queue, pace=Pace(100.0, slept.append))
    assert slept == [0.1, 0.1]
    assert len(queue.values("email.send.normal", 2)) == 25


def test_given_up_is_listed_no_more_and_stays_in_the_log(queue: MemoryQueue) -> None:
    bury(queue, b"a")
    bury(queue, b"b")
    which = dead_letter.letters(queue, Filter(id="1:0"))
    assert dead_letter.drop(queue, which, is_dry_run=True).is_dry_run
    assert len(dead_letter.letters(queue, Filter())) == 2
    dead_letter.drop(queue, which, is_dry_run=False)
    assert [letter.id for letter in dead_letter.letters(queue, Filter())] == ["1:1"]
    assert len(queue.values("email.dlq", 1)) == 3


def test_filters_and_top(queue: MemoryQueue) -> None:
    bury(queue, b"a", version="1.3.0", policy_version="p1")
    bury(queue, b"b", version="1.4.0", policy_version="p2")
    bury(queue, b"c", reason="crashed", version="1.4.0", policy_version="p2")
    found = dead_letter.letters(queue, Filter())
    times = [letter.at_us for letter in found]
    assert len(dead_letter.letters(queue, Filter(since_us=times[1]))) == 2
    assert len(dead_letter.letters(queue, Filter(until_us=times[1]))) == 1
    assert len(dead_letter.letters(queue, Filter(version="1.4.0", reason="crashed"))) == 1
    assert dead_letter.letters(queue, Filter(org="org_x")) == []
    top = dead_letter.top(queue, "policy_version", Filter())
    assert [(group.name, group.letters) for group in top] == [("p2", 2), ("p1", 1)]
    assert (top[0].first_at_us, top[0].last_at_us) == (times[1], times[2])


RULES = DeadLetters(redrive=(RedriveRule("policy_error", ">=1.4,<2"),))


def test_a_rule_puts_back_what_older_releases_failed_and_nothing_twice(queue: MemoryQueue) -> None:
    for version in ("", "1.3.9", "1.4.0", "2.0.0"):
        bury(queue, version.encode() or b"old", reason="policy_error", version=version)
    bury(queue, b"other", reason="undecodable", version="1.3.9")
    found = dead_letter.letters(queue, Filter())
    assert [letter.version for letter in chosen(found, RULES, "1.4.2")] == ["", "1.3.9", "2.0.0"]
    assert chosen(found, RULES, "1.3.9") == chosen(found, RULES, "2.0.0") == []

    def put_back(some: Any, pace: Pace) -> dead_letter.Redrive:
        return dead_letter.redrive(queue, some, pace, lambda *_: None, is_dry_run=False)

    job = AutomaticRedrive(queue, RULES, put_back, "1.4.2")
    assert (job.once(), job.once()) == (3, 0)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.4", ["1.4", "1.4.0rc1", "2"], ["1.3.99", "", "dev"]),
        (">=1.4, <2", ["1.10.1"], ["2.0", "1.2"]),
        ("==1.4.1", ["1.4.1"], ["1.4.1.1", "1.4"]),
        ("!=1.4,>1", ["1.3"], ["1.4.0", "1.0"]),
        ("<=1.4", ["1.4.0", ""], ["1.4.1"]),
    ],
)
def test_ranges_of_releases(text: str, inside: list[str], outside: list[str]) -> None:
    assert all(Range(text).holds(version) for version in inside)
    assert not any(Range(text).holds(version) for version in outside)


@pytest.mark.parametrize("text", ["", "1.4", "~=1.4", ">=1.4,", ">=x"])
def test_no_range(text: str) -> None:
    with pytest.raises(SettingsError, match=r"write >=1\.4"):
        Range(text)
