"""The trial of a canary: a good candidate stays, a bad one goes, however often one looks."""

from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.routing.trial import (
    ALPHA,
    MEASURES,
    MIN_ATTEMPTS,
    Tally,
    _evidence,
    lower,
    upper,
    verdict,
)

COUNTS = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts=COUNTS, rate=st.floats(0.01, 0.99))
def test_law_martingale(counts: tuple[int, int], rate: float) -> None:
    """What Ville's inequality needs: on average, one more toss leaves the evidence as it was."""
    hits, tries = counts
    now = _evidence(hits, tries, rate)
    ways = (
        (rate, _evidence(hits + 1, tries + 1, rate)),
        (1 - rate, _evidence(hits, tries + 1, rate)),
    )
    assert sum(chance * exp(then - now) for chance, then in ways) == pytest.approx(1.0, rel=1e-6)


@given(counts=COUNTS, alpha=st.sampled_from([0.05, 0.001, ALPHA / 6]))
def test_law_bounds(counts: tuple[int, int], alpha: float) -> None:
    """Law `bounds`."""
    hits, tries = counts
    low, high = lower(hits, tries, alpha), upper(hits, tries, alpha)
    assert 0.0 <= low <= hits / tries + 1e-9
    assert hits / tries - 1e-9 <= high <= 1.0
    for bound, beyond in ((low, low * 0.99), (high, min(1.0, high * 1.01))):
        if 0.0 < bound < 1.0:
            assert _evidence(hits, tries, beyond) >= -log(alpha) - 1e-6


def looks(chance: Random, mine: tuple[float, ...], theirs: tuple[float, ...], count: int) -> int:
    """Attempts of the candidate until it is condemned, looking after each batch; 0: it is not."""
    candidate, other = Tally(), Tally()
    for _ in range(count // 10):
        for tally, rates, share in ((candidate, mine, 10), (other, theirs, 190)):
            tally.attempts += share
            for (name, _), rate in zip(MEASURES, rates, strict=True):
                hits = sum(chance.random() < rate for _ in range(share))
                setattr(tally, name, getattr(tally, name) + hits)
        if verdict(candidate, other):
            return candidate.attempts
    return 0


@pytest.mark.parametrize(
    "rates", [(0.1, 0.02, 0.0), (0.4, 0.1, 0.0), (0.0, 0.0, 0.0), (0.02, 0.3, 0.01)]
)
def test_law_anytime(rates: tuple[float, ...]) -> None:
    """Law `anytime`: no worse, and within the margins, at a look after every batch."""
    chance = Random(20261124)
    slightly = tuple(rate + margin / 2 for rate, (_, margin) in zip(rates, MEASURES, strict=True))
    for mine in (rates, slightly):
        assert [looks(chance, mine, rates, 600) for _ in range(20)] == [0] * 20


@pytest.mark.parametrize(
    ("mine", "within"),
    [((0.5, 0.02, 0.0), 300), ((0.1, 0.3, 0.0), 300), ((0.1, 0.02, 0.2), 300)],
)
def test_a_bad_candidate_goes_soon(mine: tuple[float, ...], within: int) -> None:
    chance = Random(20261124)
    for _ in range(10):
        assert MIN_ATTEMPTS <= looks(chance, mine, (0.1, 0.02, 0.0), 2_000) <= within


def test_nothing_is_said_of_few() -> None:
    assert verdict(Tally(99, 99, 99, 99), Tally(10_000)) == ""
    assert verdict(Tally(10_000, 0, 0, 10_000), Tally(99)) == ""
    assert verdict(Tally(100, 0, 0, 100), Tally(100)) == (
        "failed 100 of 100 (100.0%), elsewhere 0 of 100 (0.0%)"
    )


def test_better_is_no_reason() -> None:
    assert verdict(Tally(5_000), Tally(5_000, 4_000, 2_000, 500)) == ""
