"""Step 2, route: ask the policy about a batch of deliveries and tell the engine.

Whatever the policy does, every delivery of the batch is dispatched: on its own route, or on the
fallback with the reason in it (G4).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from postalynk.observability import get_logger
from postalynk.policy import Now, PathState, Standing
from postalynk.routing import Fault, Interrupted, Resolved, Resolver, resolve_arms
from postalynk.worker.consume import WAIT_MS
from postalynk.worker.explaining import Explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from postalynk.policy import Message, Policies, Pools
    from postalynk.policy.hooks import Kind
    from postalynk.routing.budget import Budget
    from postalynk.worker.commit import Fence
    from postalynk.worker.parts import Parts

log = get_logger(__name__)

# One snapshot of time and pools, one crossing each way; larger ones only delay the first of them.
MAX_DELIVERIES = 500


class RouteStep:
    """Routes what the engine has decoded and looked up."""

    def __init__(
        self,
        parts: Parts,
        budget: Budget,
        fence: Fence,
        refresh: Callable[[Policies, Pools, Now], None] = lambda _policies, _pools, _now: None,
    ) -> None:
        """``refresh`` is told by what a batch is about to be routed (`limits`)."""
        self._parts = parts
        self._budget = budget
        self._fence = fence
        self._refresh = refresh
        self._explain = Explain(parts, budget)

    def once(self) -> int:
        """Route one batch; how many deliveries it had."""
        if not self._fence.wait_open(WAIT_MS / 1_000):
            return 0
        engine = self._parts.engine
        batch = engine.routable(MAX_DELIVERIES, WAIT_MS)
        count = len(batch)
        if not count:
            return 0
        # One read: all of the batch is decided by what is in force now, canary included.
        policies, pools = self._parts.policies, self._parts.pools
        deliveries, now = batch.deliveries(), Now(self._parts.clock())
        self._refresh(policies, pools, now)
        pools = pools.at(
            lambda: [PathState(*path) for path in engine.paths()],
            lambda: [Standing(*row) for row in engine.standings()],
        )

        def decide(version: Policies, some: Sequence[Message]) -> Resolved:
            """One arm, within its own time: a candidate that loops costs the others nothing."""
            resolver = Resolver(version, self._parts.options.fallback_pool)
            answer = self._budget.run(len(some), lambda: resolver.resolve(some, pools, now))
            if isinstance(answer, Interrupted):
                answer = _interrupted(resolver, len(some), answer)
            count_faults(self._parts, version.version, answer.faults)
            return answer

        resolved = resolve_arms(policies, deliveries, decide)
        self._explain.note(batch, deliveries, resolved, policies, (pools, now))
        try:
            engine.dispatch(batch, resolved.routes, resolved.choice)
        except ValueError as error:
            # The engine checks what only it can, such as a header that would break the message; it
            # has taken none of the batch then.
            cause = str(error)
            reason = f"the engine refused the policy's route: {cause}"

            def give_up(version: Policies, some: Sequence[Message]) -> Resolved:
                fault = Fault("route", version.route.name, version.route.place, reason, cause)
                count_faults(self._parts, version.version, [fault] * len(some))
                resolver = Resolver(version, self._parts.options.fallback_pool)
                return resolver.fallback(len(some), reason)

            resolved = resolve_arms(policies, deliveries, give_up)
            engine.dispatch(batch, resolved.routes, resolved.choice)
        self._parts.metrics.batch_size.labels(step="route").observe(count)
        return count


def _interrupted(resolver: Resolver, count: int, error: Interrupted) -> Resolved:
    fault = over_budget(resolver, "route", error)
    return resolver.fallback(count, fault.reason)._replace(faults=[fault] * count)


def over_budget(resolver: Resolver, kind: Kind, error: Interrupted) -> Fault:
    """What to say of hooks that took too long."""
    policies = resolver.policies
    hook = policies.hook(kind) or policies.route
    place = policies.place_of(error, hook.place)
    return Fault(kind, hook.name, place, f"policy over its time budget at {place}", "")


def count_faults(parts: Parts, version: str, faults: Iterable[Fault]) -> None:
    """Count every fault; log each kind once a batch, not once a delivery."""
    for fault, count in Counter(faults).items():
        parts.metrics.policy_errors.labels(
            hook=fault.hook, function=fault.function, line=fault.place
        ).inc(count)
        # Those of `route` are told by the attempts' events.
        if fault.hook != "route":
            parts.faults[version] += count
        log.error(
            fault.reason,
            deliveries=count,
            function=fault.function,
            version=version,
            **{"error.message": fault.detail},
        )
