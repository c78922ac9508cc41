"""What `shape` and `warmup` answer, for the engine: limits of paths, a day's plans of sources.

**Model.** `shapes` asks about the paths the engine names; `plans` about every source, towards every
provider, for everybody and for each organization with a hook of its own. A hook that raises or
answers nonsense leaves the engine's own limits, or the source warm, and is a fault (G4).
**Law `total`.** Every path that was asked about has an answer.
**Not here.** When to ask: the worker. What becomes of it: the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from postalynk.policy import Shape, Warmup
from postalynk.policy.views import PathView, SourceView
from postalynk.routing.native import providers
from postalynk.routing.resolve import Fault, Interrupted, nonsense

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postalynk.policy import Hook, Now, Policies, Pools
    from postalynk.routing.resolve import Resolver

Asked: TypeAlias = tuple[str, str, str, str]
"""(source, site, provider, organization whose own path it is): the engine's type of that name."""
Said: TypeAlias = tuple[str, int, int, str]
"""(rate, connections, per_connection, tls)."""
Plan: TypeAlias = tuple[str, str, str, int | None, str, float]
"""(source, provider, organization, messages today, overflow pool, share of a day's attempts that
may be blamed on the sender before the day counts as unhealthy)."""
Held: TypeAlias = "Mapping[tuple[str, str, str], int]"
"""(source, provider, organization) → days its plan was held back, because they were unhealthy."""


class Shapes(NamedTuple):
    """Answers about paths, in order, and what went wrong on the way."""

    answers: list[tuple[Asked, Said]]
    faults: list[Fault]


class Plans(NamedTuple):
    """The day's plans, and what went wrong on the way."""

    plans: list[Plan]
    faults: list[Fault]


def shapes(resolver: Resolver, paths: Sequence[Asked]) -> Shapes:
    """The limits of these paths."""
    answers: list[tuple[Asked, Said]] = []
    faults: list[Fault] = []
    for asked in paths:
        source, site, provider, org = asked
        hook = resolver.policies.hook("shape", org or None)
        shape = Shape()
        if hook is not None:
            answer = _ask(resolver, hook, PathView(source, site, provider))
            if isinstance(answer, Shape):
                shape = answer
            else:
                faults.append(answer if isinstance(answer, Fault) else nonsense(hook, answer))
        said = (shape.rate, shape.connections, shape.per_connection, shape.tls)
        answers.append((asked, said))
    return Shapes(answers, faults)


def plans(
    resolver: Resolver, orgs: Sequence[str | None], pools: Pools, now: Now, held: Held
) -> Plans:
    """The plans of the day of ``now`` for these organizations (None: everybody).

    Sources that are warm for everybody are left out. ``held``: days each plan was held back.
    """
    found: list[Plan] = []
    faults: list[Fault] = []
    for org in orgs:
        hook = resolver.policies.hook("warmup", org)
        if hook is None:
            continue
        for source in _sources(pools):
            answer = _ask(resolver, hook, source, now)
            plan = answer if isinstance(answer, Warmup) else None
            if answer is not None and plan is None:
                faults.append(answer if isinstance(answer, Fault) else nonsense(hook, answer))
            elif plan is not None and plan.overflow and plan.overflow not in pools:
                reason = f"policy lets {plan.overflow!r} overflow, no pool, at {hook.place}"
                faults.append(Fault(hook.kind, hook.name, hook.place, reason, ""))
            key = (source.name, source.provider, org or "")
            today = None if plan is None else plan.today(now, held.get(key, 0))
            if org is not None or today is not None:
                overflow, most = ("", 1.0) if plan is None else (plan.overflow, plan.hold_above)
                found.append((*key, today, overflow, most))
    return Plans(found, faults)


def asked_of(policies: Policies, orgs: Sequence[str | None], pools: Pools) -> int:
    """How many questions `plans` asks."""
    hooks = sum(policies.hook("warmup", org) is not None for org in orgs)
    return hooks * sum(1 for _ in _sources(pools)) if hooks else 0


def _sources(pools: Pools) -> Iterator[SourceView]:
    members: dict[str, list[str]] = {}
    for pool in pools:
        for source in pools[pool].sources:
            members.setdefault(source, []).append(pool)
    for source in sorted(members):
        for provider in ("", *providers()):
            yield SourceView(source, tuple(members[source]), provider)


def _ask(resolver: Resolver, hook: Hook, *arguments: object) -> object:
    try:
        answer: object = hook.function(*arguments)
    except Interrupted:
        raise
    except BaseException as error:  # noqa: BLE001  a policy may raise anything (G4)
        return resolver.fault(hook, error)
    return answer
