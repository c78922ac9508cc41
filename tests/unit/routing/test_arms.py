"""Arms: one version an organization, each delivery labelled by the one that decided."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import Canary, Now, Policies, Pools, load_bundle, made_of
from postalynk.policy.testing import Message
from postalynk.routing import Resolver, arms, is_candidate, policies_for, resolve_arms
from postalynk.routing.resolve import Resolved

POOLS = Pools(["default", "high"])


def policy(pool: str) -> Policies:
    text = (
        "from postalynk.policy import Route, policy\n"
        f"@policy.route\ndef route(m, p, n):\n    return Route('{pool}', reason=m.id[:1])\n"
    )
    return load_bundle(made_of({"policy.py": text.encode()}, Path("policy")))


KEPT, TRIED = policy("default"), policy("high")
ORGS = st.lists(st.integers(0, 30).map("org_{}".format), max_size=40)


@given(orgs=ORGS, share=st.floats(0.01, 0.99))
def test_law_one_version(orgs: list[str], share: float) -> None:
    """Law `one_version`: per organization, in order, and as each version alone would have it."""
    both = KEPT.beside(Canary(TRIED, share))
    batch = [Message.fake(id=f"{number}", org=org) for number, org in enumerate(orgs)]
    resolved = resolve_arms(
        both, batch, lambda one, some: Resolver(one).resolve(some, POOLS, Now(0))
    )
    assert len(resolved.choice) == len(batch)
    for message, choice in zip(batch, resolved.choice, strict=True):
        version = policies_for(both, message.org.id)
        is_tried = is_candidate(TRIED.version, share, message.org.id)
        assert version.version == (TRIED if is_tried else KEPT).version
        (alone,) = Resolver(version).resolve([message], POOLS, Now(0)).routes
        assert resolved.routes[choice] == alone
    assert sorted(place for arm in arms(both, batch) for place in arm.places) == [
        *range(len(batch))
    ]


@given(org=st.text(min_size=1), one=st.floats(0.01, 0.99), other=st.floats(0.01, 0.99))
def test_law_grow(org: str, one: float, other: float) -> None:
    """Law `grow`."""
    small, large = sorted((one, other))
    assert is_candidate("v", small, org) <= is_candidate("v", large, org)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_share_is_kept(share: float) -> None:
    orgs = [f"org_{number}" for number in range(20_000)]
    count = sum(is_candidate("9221174c5e36", share, org) for org in orgs)
    # Five standard deviations of a binomial.
    assert abs(count - share * 20_000) < 5 * (20_000 * share * (1 - share)) ** 0.5
    other = [org for org in orgs if is_candidate("another", share, org)]
    again = sum(is_candidate("9221174c5e36", share, org) for org in other)
    assert abs(again - share * len(other)) < 5 * (len(other) * share * (1 - share)) ** 0.5


def test_without_a_candidate_there_is_one_arm() -> None:
    batch = [Message.fake(org=f"org_{number}") for number in range(3)]
    assert [arm.places for arm in arms(KEPT, batch)] == [[0, 1, 2]]
    assert arms(KEPT, []) == []
    assert KEPT.beside(Canary(TRIED, 0.5)).beside(None).canary is None
    assert KEPT.canary is None, "what is loaded never changes"


def test_what_breaks_in_one_arm_stays_there() -> None:
    both = KEPT.beside(Canary(TRIED, 0.5))
    batch = [Message.fake(id=f"{number}", org=f"org_{number}") for number in range(40)]

    def resolve(one: Policies, some: object) -> Resolved:
        resolver, count = Resolver(one), len(list(some))  # type: ignore[call-overload]
        if one is not both:
            return resolver.fallback(count, "over its time")
        return resolver.resolve(list(some), POOLS, Now(0))  # type: ignore[call-overload]

    resolved = resolve_arms(both, batch, resolve)
    for message, choice in zip(batch, resolved.choice, strict=True):
        is_tried = policies_for(both, message.org.id) is not both
        is_fallback, version = resolved.routes[choice][5:7]
        assert (is_fallback, version) == (is_tried, (TRIED if is_tried else KEPT).version)
