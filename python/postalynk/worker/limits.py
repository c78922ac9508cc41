"""The policy's limits, told to the engine: `shape` per path, `warmup` per source and day.

**Model.** `Limits.refresh` runs before every batch is routed. When policy, pools or the day have
changed it tells the engine whether paths are shaped and by which plans sources are warmed up, so a
batch never leaves under the limits of another version. `ShapeStep` answers the paths that ask: an
idle thread of its own, so that a slow `shape` holds back only paths that are new.
**Health.** The engine holds a plan back after a day on which receivers blamed the sender; the plan
of the day is asked for with those days left out.
**Canary.** Paths and sources are shared by both arms, so what holds for everybody is said by the
version in force; an organization's own limits by the version that decides for it (`routing.arms`).
**Fallback (G4).** Over its time budget or raising, `shape` leaves the engine's own limits and
`warmup` leaves sources warm; both are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.errors import EngineError
from postalynk.policy import Now
from postalynk.policy.moment import DAY_S
from postalynk.routing import (
    Fault,
    Interrupted,
    Plans,
    Resolver,
    Shapes,
    asked_of,
    owners,
    plans,
    policies_for,
    shapes,
)
from postalynk.worker.consume import WAIT_MS
from postalynk.worker.route import count_faults, over_budget

if TYPE_CHECKING:
    from postalynk.policy import Policies, Pools
    from postalynk.routing import Asked
    from postalynk.routing.arms import Owner
    from postalynk.routing.budget import Budget
    from postalynk.routing.limits import Held, Plan
    from postalynk.worker.parts import Parts

MAX_PATHS = 500


class Limits:
    """What the engine has been told; belongs to the step that routes."""

    def __init__(self, parts: Parts, budget: Budget) -> None:
        self._parts = parts
        self._budget = budget
        self._policies: Policies | None = None
        self._pools: Pools | None = None
        self._day = -1

    def refresh(self, policies: Policies, pools: Pools, now: Now) -> None:
        """Tell the engine what has changed since the last call; mostly nothing."""
        day = now.at_us // (DAY_S * 1_000_000)
        is_new_policy = policies is not self._policies
        if not is_new_policy and pools is self._pools and day == self._day:
            return
        self._policies, self._pools, self._day = policies, pools, day
        engine = self._parts.engine
        if is_new_policy:
            shapers = owners(policies, "shape")
            orgs = [org for owner in shapers for org in owner.orgs if org is not None]
            engine.shape_by_policy(bool(orgs) or policies.hook("shape") is not None, orgs)
        held = {(source, provider, org): days for source, provider, org, days in engine.held()}
        found = []
        for owner in owners(policies, "warmup"):
            found += self._plans(owner, pools, now, held)
        engine.warm_up(found)

    def _plans(self, owner: Owner, pools: Pools, now: Now, held: Held) -> list[Plan]:
        """What one version says of its organizations, within its own time."""
        resolver = Resolver(owner.policies, self._parts.options.fallback_pool)
        count = asked_of(owner.policies, owner.orgs, pools)
        answer = self._budget.run(count, lambda: plans(resolver, owner.orgs, pools, now, held))
        if isinstance(answer, Interrupted):
            answer = Plans([], [over_budget(resolver, "warmup", answer)])
        count_faults(self._parts, owner.policies.version, answer.faults)
        return answer.plans


class ShapeStep:
    """Answers the paths whose limits the engine asks for."""

    def __init__(self, parts: Parts, budget: Budget) -> None:
        self._parts = parts
        self._budget = budget

    def once(self) -> int:
        """Answer those that ask; how many there were."""
        paths = self._parts.engine.paths_asked(MAX_PATHS, WAIT_MS)
        if not paths:
            return 0
        policies, fallback_pool = self._parts.policies, self._parts.options.fallback_pool
        by_version: dict[str, tuple[Resolver, list[Asked]]] = {}
        for path in paths:
            # Everybody's path is shared by both arms of a canary: the version in force says it.
            version = policies_for(policies, path[3]) if path[3] else policies
            resolver = Resolver(version, fallback_pool)
            by_version.setdefault(version.version, (resolver, []))[1].append(path)
        for resolver, asked in by_version.values():
            self._answer(resolver, asked)
        return len(paths)

    def _answer(self, resolver: Resolver, paths: list[Asked]) -> None:
        """What one version says of its paths."""
        answer = self._budget.run(len(paths), lambda: shapes(resolver, paths))
        if isinstance(answer, Interrupted):
            fault = over_budget(resolver, "shape", answer)
            answer = _own(paths, [fault] * len(paths))
        try:
            self._parts.engine.shape(answer.answers)
        except EngineError as error:
            # Its grammar is checked when a `Shape` is made: this is a disagreement of ours.
            fault = Fault("shape", "", "", f"the engine refused the policy's shape: {error}", "")
            answer = _own(paths, [fault] * len(paths))
            self._parts.engine.shape(answer.answers)
        count_faults(self._parts, resolver.policies.version, answer.faults)


def _own(paths: list[Asked], faults: list[Fault]) -> Shapes:
    """The engine's own limits for all of them."""
    return Shapes([(path, ("", 0, 0, "")) for path in paths], faults)
