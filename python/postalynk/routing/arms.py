"""Arms: which version of the policy decides for which organization, while a candidate is on trial.

**Model.** An organization belongs to the candidate or to the version in force, by keyed hash of its
id under the candidate's version: the same in every worker, at a retry and after a restart, and
another draw for another candidate, so that it is not always the same customers who go first.
**Law `one_version`.** All deliveries of one organization in a batch are decided by one version, and
each carries the version that decided it.
**Law `grow`.** When the candidate's share grows, no organization leaves it.
**What is shared.** A path has one limit and a source one plan, whoever's mail takes them: two
versions would let it send twice as much. So everybody's `shape` and `warmup` stay those of the
version in force; an organization's own, with paths and counts of its own, are those of its version.
**Not here.** Whether the candidate is any good: `trial`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from postalynk.routing.draw import number
from postalynk.routing.resolve import Resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postalynk.policy import Message, Policies
    from postalynk.policy.hooks import Kind

_SPAN = 1 << 64


class Arm(NamedTuple):
    """Deliveries of a batch that one version decides about."""

    policies: Policies
    places: list[int]
    """Their indices in the batch, in order."""


def is_candidate(version: str, share: float, org: str) -> bool:
    """Whether ``org`` is among the ``share`` (0 to 1) for which the candidate decides."""
    return number(org, f"canary {version}") < share * _SPAN


def policies_for(policies: Policies, org: str) -> Policies:
    """The version that decides for an organization."""
    canary = policies.canary
    if canary is not None and is_candidate(canary.policies.version, canary.share, org):
        return canary.policies
    return policies


def arms(policies: Policies, deliveries: Sequence[Message]) -> list[Arm]:
    """The batch by version, only those that have a delivery."""
    if policies.canary is None:
        return [Arm(policies, list(range(len(deliveries))))] if deliveries else []
    found: dict[str, list[int]] = {}
    for place, delivery in enumerate(deliveries):
        found.setdefault(delivery.org.id, []).append(place)
    kept, tried = Arm(policies, []), Arm(policies.canary.policies, [])
    for org, places in found.items():
        arm = kept if policies_for(policies, org) is policies else tried
        arm.places.extend(places)
    for arm in (kept, tried):
        arm.places.sort()
    return [arm for arm in (kept, tried) if arm.places]


class Owner(NamedTuple):
    """Whose `shape` or `warmup` one version says."""

    policies: Policies
    orgs: list[str | None]
    """None: everybody's."""


def owners(policies: Policies, kind: Kind) -> list[Owner]:
    """Who says what of everybody's paths or sources, and of organizations that have their own."""
    both = [policies] if policies.canary is None else [policies, policies.canary.policies]
    found = []
    for version in both:
        orgs: list[str | None] = [
            org for org in version.variants(kind) if policies_for(policies, org) is version
        ]
        found.append(Owner(version, [None, *orgs] if version is policies else orgs))
    return found


def resolve_arms(
    policies: Policies,
    deliveries: Sequence[Message],
    resolve: Callable[[Policies, Sequence[Message]], Resolved],
) -> Resolved:
    """Resolve each arm by itself with ``resolve``, and put the batch together again."""
    if policies.canary is None:
        return resolve(policies, deliveries)
    whole = Resolved([], [0] * len(deliveries), [])
    for arm in arms(policies, deliveries):
        part = resolve(arm.policies, [deliveries[place] for place in arm.places])
        first = len(whole.routes)
        whole.routes.extend(part.routes)
        whole.faults.extend(part.faults)
        for place, choice in zip(arm.places, part.choice, strict=True):
            whole.choice[place] = first + choice
    return whole
