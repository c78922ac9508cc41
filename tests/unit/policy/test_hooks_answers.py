"""Answers of `accept`, `shape` and `warmup`, and of `route` and `retry` what was added to them."""

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import Add, Reject, Remove, Retry, Route, Set, Shape, Warmup
from postalynk.policy import pools as surface
from postalynk.policy.spans import parse_plan, parse_rate
from postalynk.policy.testing import Pools, at


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Route("a", lane="fast"), "fast"),  # type: ignore[arg-type]
        (lambda: Route("a", pin=3), "pin"),  # type: ignore[arg-type]
        (lambda: Retry("5m", scope="site"), "site"),  # type: ignore[arg-type]
        (lambda: Set("From", "a@example.com"), "structure"),
        (lambda: Add("DKIM-Signature", "v=1"), "structure"),
        (lambda: Remove("content-type"), "structure"),
        (lambda: Set("ARC-Seal", "i=1"), "structure"),
        (lambda: Shape(rate="-5/s"), "-5/s"),
        (lambda: Shape(rate="5/fortnight"), "fortnight"),
        (lambda: Shape(rate="0/s"), "at least 1"),
        (lambda: Shape(rate="2000000000/s"), "at most"),
        (lambda: Shape(rate=5), "rate=5"),  # type: ignore[arg-type]
        (lambda: Shape(connections=-1), "connections=-1"),
        (lambda: Shape(per_connection=2.5), "per_connection=2.5"),  # type: ignore[arg-type]
        (lambda: Shape(tls="none"), "none"),  # type: ignore[arg-type]
        (lambda: Warmup("1 March"), "1 March"),
        (lambda: Warmup("2026-02-30"), "2026-02-30"),
        (lambda: Warmup("2026-03-01", plan="200, many"), "many"),
        (lambda: Warmup("2026-03-01", plan="200*0"), "200*0"),
        (lambda: Warmup("2026-03-01", plan=[]), "one a day"),
        (lambda: Warmup("2026-03-01", plan=[200, -1]), "-1"),
        (lambda: Warmup("2026-03-01", overflow=3), "overflow"),  # type: ignore[arg-type]
        (lambda: Warmup("2026-03-01", hold_above=5), "hold_above"),
        (lambda: Warmup("2026-03-01", hold_above="5%"), "hold_above"),  # type: ignore[arg-type]
        (lambda: Reject(200, "no"), "200"),
        (lambda: Reject(550, ""), "why"),
        (lambda: Reject(550, "no\r\n250 yes"), "one line"),
        (lambda: Reject(550, "nö"), "ASCII"),
        (lambda: Reject(550, "no", enhanced="4.7.1"), "4.7.1"),
        (lambda: Reject(550, "no", enhanced="five"), "five"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[[], object], word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        make()


def test_a_refusal_has_the_enhanced_code_of_its_class() -> None:
    assert Reject(451, "later").enhanced == "4.7.1"
    assert Reject(550, "never").enhanced == "5.7.1"
    assert Reject(552, "too large", enhanced="5.2.3").is_final
    assert not Reject(451, "later").is_final


def test_a_rate_is_read_as_the_engine_reads_it() -> None:
    assert parse_rate("100/s") == (100.0, 100.0)
    assert parse_rate("100/h,max_burst=1") == (100 / 3_600, 1.0)
    assert parse_rate(" 5/min ") == (5 / 60, 5.0)
    assert Shape(rate="unlimited").per_second == math.inf
    assert Shape().per_second == 0.0


def test_a_plan_counts_days_from_the_first() -> None:
    plan = Warmup("2026-03-01", plan="200, 1k*2, 2M")
    assert plan.per_day == (200, 1_000, 1_000, 2_000_000)
    assert plan.today(at("2026-02-28 23:59")) == 0
    assert plan.today(at("2026-03-01 00:00")) == 200
    assert plan.today(at("2026-03-03 23:59")) == 1_000
    assert plan.today(at("2026-03-05 00:00")) is None


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_law_plan_as_text_or_numbers(days: list[int]) -> None:
    """Law `plan_as_text_or_numbers`: both ways of writing a plan mean the same."""
    assert parse_plan(", ".join(map(str, days))) == Warmup("2026-03-01", plan=days).per_day


def test_a_pool_is_healthy_while_one_of_its_sources_is() -> None:
    pools = Pools.fake("a", "b", shut=["a"])
    assert not pools["a"].healthy
    assert not pools["a"].is_open("example.org")
    assert pools["a"].is_open("elsewhere.example")
    assert pools["b"].healthy
    with pytest.raises(KeyError):
        pools["c"]


def test_a_reputation_is_a_band_of_what_was_blamed() -> None:
    pools = Pools.fake(
        "a", "b", blamed={("a", "google"): 0.2, ("b", "google"): 0.02, ("b", "yahoo"): 0.0}
    )
    found = [pools[pool].reputation(site) for pool in "ab" for site in ("google", "yahoo")]
    assert found == ["poor", "unknown", "fair", "good"]
    both = surface.Pools({"ab": ["a", "b"]}, standings=lambda: pools.standings)
    assert both["ab"].reputation("google") == "poor", "11 of 100 attempts by both"
    assert [row.source for row in both.standings] == ["a", "b", "b"]


def test_standings_are_read_once_and_only_when_asked() -> None:
    asked: list[int] = []

    def standings() -> list[surface.Standing]:
        asked.append(1)
        return []

    pools = surface.Pools(["a"]).at(list, standings)
    assert asked == []
    assert pools["a"].reputation("google") == pools["a"].reputation("yahoo") == "unknown"
    assert asked == [1]
