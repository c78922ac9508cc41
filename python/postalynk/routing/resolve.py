"""A batch of deliveries → the few routes they take, and which takes which.

**Problem.** The policy is asked per delivery, 3,850 times a second; the engine wants to be told
once per batch. Most answers of a batch are equal.
**Model.** Each delivery's hook answers; equal answers are resolved once and numbered.
``choice[i]`` is the number of delivery ``i``. An answer with a split is drawn per delivery and
numbered by what was drawn. A hook that raises, answers no `Route` or names a pool that does not
exist takes the fallback route for that delivery, with the reason in it (G4).
**Law `total`.** Every delivery gets exactly one route, in order, and only to pools that exist.
**Law `contained`.** Whatever a hook does short of not returning, the other deliveries of the
batch are routed as if it had not been there.
**Not here.** Time: the worker interrupts a batch that takes too long and sends it to `fallback`.
Counters: faults are returned, the worker counts them.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from postalynk.policy import Now, Remove, Retry, Route, Set, Split
from postalynk.routing.draw import draw
from postalynk.routing.native import check_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postalynk.policy import Attempt, HeaderOp, Hook, Message, Policies, Pools

RouteSpec: TypeAlias = tuple[
    str, tuple[str, ...], int, tuple[tuple[str, str, str], ...], str, bool, str, str, str
]
"""(pool, fallback pools, not_before_us, header operations (op, name, value), reason, is the
fallback route (G4), policy version, lane, pinned source): the engine's type of that name."""

FALLBACK_RETRY = Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d", jitter=0.2)
"""The schedule when a `retry` hook fails: that of the policy shipped with Postalynk."""

_WANTED: Mapping[str, str] = {
    "accept": "an Accept or a Reject",
    "route": "a Route",
    "shape": "a Shape",
    "warmup": "a Warmup or None",
    "retry": "a Retry",
}
_DAY_US = 86_400 * 1_000_000
_GRACE_US = 3_600 * 1_000_000
# An answer whose number depends on the delivery.
_DRAWN = -1


class Interrupted(BaseException):
    """Raised inside a hook from outside, by the worker, when the policy is over its budget.

    No Exception: a policy's ``except Exception`` must not swallow it.
    """


class Fault(NamedTuple):
    """A decision the policy failed to take; the fallback was taken instead."""

    hook: str
    """``accept``, ``route``, ``shape``, ``warmup`` or ``retry``."""
    function: str
    place: str
    """``policy.py:12``."""
    reason: str
    """What ``why`` shows: ``policy raised ValueError at policy.py:12``."""
    detail: str
    """The exception's text, for the log."""


class Resolved(NamedTuple):
    """What `Engine.dispatch` wants, and what went wrong on the way."""

    routes: list[RouteSpec]
    choice: list[int]
    faults: list[Fault]
    """One per delivery that took the fallback, in order."""


class Resolver:
    """Resolves batches under one version of the policy; keeps nothing between batches."""

    def __init__(self, policies: Policies, fallback_pool: str = "default") -> None:
        """``fallback_pool``: where deliveries go whose policy failed."""
        self.policies = policies
        self.fallback_pool = fallback_pool

    def resolve(self, deliveries: Sequence[Message], pools: Pools, now: Now) -> Resolved:
        """Ask the policy about each delivery; whatever it does, only `Interrupted` gets out."""
        batch = _Batch(self, pools, now)
        known, choice = batch.known, batch.choice
        route, variants = self.policies.route, self.policies.has_variants
        ask = route.function
        for delivery in deliveries:
            hook = route
            try:
                if variants:
                    hook = self.policies.route_for(delivery.org.id)
                    ask = hook.function
                answer = ask(delivery, pools, now)
                if answer.__class__ is not Route:
                    batch.nonsense(hook, answer)
                    continue
                number = known.get(answer)
                if number is None:
                    number = batch.number(hook, answer)
                if number == _DRAWN:
                    number = batch.drawn(answer, delivery)
                choice.append(number)
            except Interrupted:
                raise
            except BaseException as error:  # noqa: BLE001  a policy may raise anything (G4)
                batch.raised(hook, error)
        return Resolved(batch.routes, choice, batch.faults)

    def fallback(self, count: int, reason: str) -> Resolved:
        """The fallback route for a whole batch of ``count``."""
        return Resolved([self.fallback_spec(reason)], [0] * count, [])

    def retry(self, attempt: Attempt) -> tuple[Retry, Fault | None]:
        """When to try again; the shipped schedule, and the fault, when the policy fails to say."""
        hook = self.policies.retry
        try:
            if self.policies.has_variants:
                hook = self.policies.retry_for(attempt.delivery.org.id)
            answer = hook.function(attempt)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001  a policy may raise anything (G4)
            return FALLBACK_RETRY, self.fault(hook, error)
        if answer.__class__ is not Retry:
            return FALLBACK_RETRY, nonsense(hook, answer)
        return answer, None

    def fault(self, hook: Hook, error: BaseException) -> Fault:
        """What `why` and the log say of an exception in a hook."""
        place = self.policies.place_of(error, hook.place)
        reason = f"policy raised {type(error).__name__} at {place}"
        return Fault(hook.kind, hook.name, place, reason, _text(error))

    def fallback_spec(self, reason: str) -> RouteSpec:
        """The fallback route, with the reason for it."""
        return (self.fallback_pool, (), 0, (), reason, True, self.policies.version, "", "")


class _Batch:
    """The routes of one batch while it is resolved."""

    def __init__(self, resolver: Resolver, pools: Pools, now: Now) -> None:
        self.resolver = resolver
        self.pools = pools
        self.now = now
        self.routes: list[RouteSpec] = []
        self.choice: list[int] = []
        self.faults: list[Fault] = []
        self.known: dict[Route, int] = {}
        """Answer → its number, or `_DRAWN`."""
        self._draws: dict[tuple[Route, str], int] = {}
        self._numbers: dict[RouteSpec, int] = {}

    def number(self, hook: Hook, answer: Route) -> int:
        """Number an answer not met before in this batch."""
        pool = answer.pool
        pools = [name for name, _ in pool.shares] if isinstance(pool, Split) else [pool]
        if (wrong := self._refusal(pools, answer)) is not None:
            reason = f"policy {wrong[0]} at {hook.place}"
            self.faults.append(Fault(hook.kind, hook.name, hook.place, reason, wrong[1]))
            return self._intern(self.resolver.fallback_spec(reason))
        if isinstance(pool, Split):
            self.known[answer] = _DRAWN
            return _DRAWN
        number = self._intern(self._spec(pool, answer))
        self.known[answer] = number
        return number

    def _refusal(self, pools: Sequence[str], answer: Route) -> tuple[str, str] | None:
        """What only the worker and the engine can know is wrong: in words, and in detail."""
        for name in (*pools, *answer.fallback):
            if name not in self.pools:
                return f"chose unknown pool {name!r}", ""
        if answer.pin:
            for name in pools:
                sources = self.pools[name].sources
                # A test's pools have no sources, so any may be pinned.
                if sources and answer.pin not in sources:
                    return f"pinned source {answer.pin!r}, which pool {name!r} has not,", ""
        for operation in answer.headers:
            if not isinstance(operation, Remove):
                try:
                    check_header(operation.name, operation.value)
                except ValueError as error:
                    return f"may not set the header {operation.name!r}", str(error)
        return None

    def drawn(self, answer: Route, delivery: Message) -> int:
        """The number of the pool this delivery draws from the answer's split."""
        split = answer.pool
        assert isinstance(split, Split)
        if split.by == "org":
            key = delivery.org.id
        elif split.by == "rcpt":
            key = delivery.rcpt.address
        else:
            key = delivery.id
        pool = draw(split, key)
        number = self._draws.get((answer, pool))
        if number is None:
            number = self._draws[answer, pool] = self._intern(self._spec(pool, answer))
        return number

    def raised(self, hook: Hook, error: BaseException) -> None:
        """Give the delivery the fallback because its hook raised."""
        self._fail(self.resolver.fault(hook, error))

    def nonsense(self, hook: Hook, answer: object) -> None:
        """Give the delivery the fallback because its hook answered no `Route`."""
        self._fail(nonsense(hook, answer))

    def _fail(self, fault: Fault) -> None:
        self.faults.append(fault)
        self.choice.append(self._intern(self.resolver.fallback_spec(fault.reason)))

    def _spec(self, pool: str, answer: Route) -> RouteSpec:
        return (
            pool,
            tuple(answer.fallback),
            _not_before_us(answer.not_before, self.now),
            tuple(_operation(operation) for operation in answer.headers),
            answer.reason,
            False,
            self.resolver.policies.version,
            answer.lane,
            answer.pin,
        )

    def _intern(self, spec: RouteSpec) -> int:
        number = self._numbers.setdefault(spec, len(self.routes))
        if number == len(self.routes):
            self.routes.append(spec)
        return number


def _operation(operation: HeaderOp) -> tuple[str, str, str]:
    if isinstance(operation, Remove):
        return ("remove", operation.name, "")
    return ("set" if isinstance(operation, Set) else "add", operation.name, operation.value)


def _not_before_us(value: str | datetime | None, now: Now) -> int:
    if value is None:
        return 0
    if isinstance(value, datetime):
        return max(0, round(value.timestamp() * 1_000_000))
    at_us = now.next_us(value)
    # What was held until then comes back a moment later, and must not wait for tomorrow.
    is_just_past = at_us - now.at_us > _DAY_US - _GRACE_US
    return 0 if is_just_past else at_us


def nonsense(hook: Hook, answer: object) -> Fault:
    """The fault of a hook that answered something of another type."""
    reason = f"policy answered {type(answer).__name__}, not {_WANTED[hook.kind]}, at {hook.place}"
    return Fault(hook.kind, hook.name, hook.place, reason, "")


def _text(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:  # noqa: BLE001  an exception of the policy's own making
        return ""
