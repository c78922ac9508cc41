"""Drawing by keyed hash."""

import subprocess
import sys
from math import sqrt

from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.policy import split
from postalynk.routing import draw

NAMES = ("a", "b", "c")


@settings(max_examples=20)
@given(
    shares=st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any),
    salt=st.integers(0, 10_000),
)
def test_law_shares(shares: list[int], salt: int) -> None:
    """Law `shares`: counts lie within binomial bounds (six sigma: one example in 10^8 fails)."""
    divided = split(dict(zip(NAMES, shares, strict=True)))
    count = 4_000
    drawn = [draw(divided, f"{salt}/{n}") for n in range(count)]
    for name, share in zip(NAMES, shares, strict=True):
        p = share / sum(shares)
        assert abs(drawn.count(name) - count * p) <= 6 * sqrt(count * p * (1 - p)) + 1e-9


@given(key=st.text())
def test_law_stable(key: str) -> None:
    """Law `stable`: the same split and key, the same pool, also for an equal split made anew."""
    assert draw(split({"a": 1, "b": 1}), key) == draw(split({"a": 1, "b": 1}), key)


def test_law_stable_over_processes() -> None:
    """Law `stable`: whatever PYTHONHASHSEED is."""
    code = (
        "from postalynk.policy import split; from postalynk.routing import draw;"
        "print(''.join(draw(split({'a': 1, 'b': 1, 'c': 2}), str(n)) for n in range(200)))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(answers) == 1


@given(key=st.text(), small=st.integers(0, 100), more=st.integers(0, 100))
def test_law_grow(key: str, small: int, more: int) -> None:
    """Law `grow`: whoever is in the canary stays in it when it grows."""
    canary = min(100, small + more)
    if draw(split({"rest": 100 - small, "canary": small}), key) == "canary":
        assert draw(split({"rest": 100 - canary, "canary": canary}), key) == "canary"


def test_independent_splits_draw_independently() -> None:
    one, other = split({"a": 1, "b": 1}), split({"c": 1, "d": 1})
    pairs = {(draw(one, str(n)), draw(other, str(n))) for n in range(100)}
    assert len(pairs) == 4
