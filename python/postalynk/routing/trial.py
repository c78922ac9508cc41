"""A canary on trial: whether the candidate policy does worse than the one in force.

**Problem.** A candidate decides for a share of the organizations, and somebody looks at the counts
every second. A test made for one look (a two-proportion z test) that is repeated until it alarms
does alarm in the end, also about a good policy.
**Model.** For each measure (deferred, bounced, policy failures) both sides are coin tosses. The
candidate is condemned when the lower confidence bound of its rate lies above the upper bound of
the other's by more than the measure's margin. The bounds hold at all times at once: a Beta mixture
of likelihood ratios is a martingale for the true rate, so by Ville's inequality it passes
``1 / alpha`` with a probability of at most ``alpha``, however often one looks.
**Law `anytime`.** A candidate whose rates are no higher than the other's by more than the margin
is condemned with a probability of at most `ALPHA`, over all looks together.
**Law `bounds`.** ``0 <= lower <= rate <= upper <= 1``, and beyond a bound the evidence is over
``1 / alpha``.
**Margins.** Organizations differ: their lists, not the policy, move these rates by a few points,
and coin tosses of one organization are not independent. A policy failure is the policy's own, so
it has none.
**Source.** H. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals
of Mathematical Statistics 41 (1970), for the mixture; J. Ville, "Étude critique de la notion de
collectif" (1939), for the inequality; S. Howard and others, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", Annals of Statistics 49 (2021), for the use.
"""

from __future__ import annotations

from math import inf, lgamma, log
from typing import NamedTuple

import msgspec

ALPHA = 0.001
"""The probability that a good candidate is ever taken back: one in a thousand deployments."""
MIN_ATTEMPTS = 100
"""On each side, before any rate is compared: one mailing of a small organization is no evidence."""
_STEPS = 50


class Measure(NamedTuple):
    """One rate that is watched."""

    name: str
    margin: float
    """How much higher the candidate's rate may be, in absolute terms."""


MEASURES = (Measure("deferred", 0.05), Measure("bounced", 0.02), Measure("failed", 0.0))


class Tally(msgspec.Struct):
    """What happened to first attempts that one version routed."""

    attempts: int = 0
    deferred: int = 0
    bounced: int = 0
    failed: int = 0
    """Decisions taken by the fallback because the policy failed (G4)."""


def verdict(candidate: Tally, other: Tally) -> str:
    """Why the candidate must go, in words; empty: nothing speaks against it so far."""
    if min(candidate.attempts, other.attempts) < MIN_ATTEMPTS:
        return ""
    # Each bound errs with its part of ALPHA: their sum bounds the chance that any does.
    alpha = ALPHA / (2 * len(MEASURES))
    for name, margin in MEASURES:
        mine, theirs = getattr(candidate, name), getattr(other, name)
        low = lower(mine, candidate.attempts, alpha)
        if low > upper(theirs, other.attempts, alpha) + margin:
            return (
                f"{name} {mine} of {candidate.attempts} ({mine / candidate.attempts:.1%}), "
                f"elsewhere {theirs} of {other.attempts} ({theirs / other.attempts:.1%})"
            )
    return ""


def lower(hits: int, tries: int, alpha: float) -> float:
    """A bound that the true rate is below with a probability of at most ``alpha``, at all times."""
    return 1.0 - upper(tries - hits, tries, alpha)


def upper(hits: int, tries: int, alpha: float) -> float:
    """A bound that the true rate is above with a probability of at most ``alpha``, at all times."""
    inside, outside = hits / tries if tries else 1.0, 1.0
    if inside >= 1.0 or _evidence(hits, tries, 1.0) < -log(alpha):
        return 1.0
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if _evidence(hits, tries, middle) < -log(alpha):
            inside = middle
        else:
            outside = middle
    return outside


def _evidence(hits: int, tries: int, rate: float) -> float:
    """The logarithm of the mixture martingale against ``rate``, of a Beta(1/2, 1/2) prior."""
    misses = tries - hits
    if (rate <= 0 and hits) or (rate >= 1 and misses):
        return inf
    likelihood = (hits * log(rate) if hits else 0.0) + (misses * log(1 - rate) if misses else 0.0)
    return _log_beta(hits + 0.5, misses + 0.5) - _log_beta(0.5, 0.5) - likelihood


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
