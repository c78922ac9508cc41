"""`Now` and `Pools`: the two other things a hook is given."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import Now, Pools

MINUTE_US = 60_000_000


def at(clock: str) -> Now:
    hour, _, minute = clock.partition(":")
    moment = datetime(2026, 3, 1, int(hour), int(minute), tzinfo=UTC)
    return Now(int(moment.timestamp()) * 1_000_000)


@pytest.mark.parametrize(
    ("clock", "is_night"),
    [("21:59", False), ("22:00", True), ("00:00", True), ("06:59", True), ("07:00", False)],
)
def test_between_goes_over_midnight(clock: str, is_night: bool) -> None:
    assert at(clock).between("22:00", "07:00") is is_night


@given(minute=st.integers(0, 1_439), start=st.integers(0, 1_439), end=st.integers(0, 1_439))
def test_between_and_its_complement_part_the_day(minute: int, start: int, end: int) -> None:
    now = Now(minute * MINUTE_US)
    begins, ends = (f"{m // 60:02d}:{m % 60:02d}" for m in (start, end))
    if start == end:
        with pytest.raises(ValueError, match="names no stretch"):
            now.between(begins, ends)
    else:
        assert now.between(begins, ends) is not now.between(ends, begins)


@pytest.mark.parametrize("text", ["7:00", "24:00", "12:60", "noon", "", "٠٧:٠٠"])
def test_other_texts_are_no_clock_times(text: str) -> None:
    with pytest.raises(ValueError, match="is no time of day"):
        at("12:00").between(text, "13:00")


@given(now_us=st.integers(0, 2**51), minute=st.integers(0, 1_439))
def test_the_next_clock_time_is_within_a_day(now_us: int, minute: int) -> None:
    now = Now(now_us)
    due = now.next_us(f"{minute // 60:02d}:{minute % 60:02d}")
    assert now_us <= due < now_us + 1_440 * MINUTE_US
    assert due // MINUTE_US % 1_440 == minute


def test_the_instant_is_utc() -> None:
    assert at("23:00").datetime == datetime(2026, 3, 1, 23, tzinfo=UTC)
    assert repr(at("23:00")) == "Now(2026-03-01T23:00:00+00:00)"


def test_pools_are_a_set_of_names_in_order() -> None:
    pools = Pools(["b", "a"])
    assert ("a" in pools, "c" in pools, list(pools), len(pools)) == (True, False, ["a", "b"], 2)
