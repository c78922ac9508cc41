"""Answers check themselves: what exists is valid, what is not says why."""

from datetime import UTC, datetime
from typing import Any

import pytest

import postalynk.policy
from postalynk.policy import Add, Remove, Retry, Route, Set, split

untyped: Any = postalynk.policy
"""As an author without a type checker uses it."""


def test_equal_answers_are_one_key() -> None:
    def answer() -> Route:
        return Route(
            split({"a": 95, "b": 5}, by="org"),
            fallback=["c"],
            headers=[Set("X-A", "1"), Remove("X-B")],
            reason="why",
        )

    assert len({answer(), answer()}) == 1
    assert answer().fallback == ("c",)
    assert {Retry("1m"), Retry("1m")} == {Retry("1m", max_age="3d", jitter=0.2)}


def test_answers_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Route("a").pool = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Route(""), "is no pool"),
        (lambda: untyped.Route(None), "None is no pool"),
        (lambda: Route("a", fallback="b"), r"give a list, \['b'\]"),
        (lambda: untyped.Route("a", fallback=[7]), "7 is no pool"),
        (lambda: Route("a", not_before="25:00"), "is no time of day"),
        (lambda: Route("a", not_before=datetime(2026, 1, 1)), "has no time zone"),  # noqa: DTZ001
        (lambda: untyped.Route("a", not_before=5), "give 'HH:MM'"),
        (lambda: untyped.Route("a", headers=["X-A: b"]), r"is not Set\(…\)"),
        (lambda: Route("a", reason="x" * 201), "at most 200"),
        (lambda: Set("X A", "b"), "is no header name"),
        (lambda: Set("X:A", "b"), "is no header name"),
        (lambda: Add("X-A", "b\r\nBcc: c"), "must be one line"),
        (lambda: Add("X-A", "b\x00"), "must be one line"),
        (lambda: Remove(""), "is no header name"),
        (lambda: split({}), "gives nothing"),
        (lambda: split({"a": 0}), "gives nothing"),
        (lambda: split({"a": -1, "b": 2}), "must be a whole number"),
        (lambda: untyped.split({"a": 0.5, "b": 2}), "must be a whole number"),
        (lambda: untyped.split({"a": 1}, by="host"), "use 'message', 'org' or 'rcpt'"),
        (lambda: Retry(""), "is no step"),
        (lambda: Retry("1m, 5x"), "'5x' in the schedule"),
        (lambda: Retry("1m; 5m"), "is no step"),
        (lambda: Retry("0s"), "at least 1s"),
        (lambda: Retry("5m*0"), "at least 1s, once"),
        (lambda: Retry("1s*1000000"), "more than 1000 steps"),
        (lambda: untyped.Retry(60), "are texts"),
        (lambda: Retry("1m", max_age="3 days"), "is no span"),
        (lambda: Retry("1m", max_age="0s"), "at least 1s"),
        (lambda: Retry("1m", jitter=1), "from 0 up to"),
        (lambda: Retry("1m", jitter=-0.1), "from 0 up to"),
        (lambda: Retry("1m", jitter=True), "from 0 up to"),
        (lambda: Retry("1m", jitter=float("nan")), "from 0 up to"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(make: object, complaint: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=complaint):
        make()


def test_a_schedule_is_read_into_seconds() -> None:
    retry = Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d")
    assert retry.delays_s == (60, 300, 300, *[3_600] * 3, *[14_400] * 10)
    assert retry.max_age_s == 259_200


def test_not_before_takes_a_clock_time_or_an_instant() -> None:
    assert Route("a", not_before="07:00").not_before == "07:00"
    Route("a", not_before=datetime(2026, 1, 1, tzinfo=UTC))
