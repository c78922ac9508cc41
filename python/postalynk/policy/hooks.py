"""The decorators: they note a function as a hook in its own module and return it unchanged.

Unchanged, so that a test calls it like any function; in its own module, so that two policies
loaded one after the other never meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, overload

from postalynk.policy.answers import Retry, Route
from postalynk.policy.limits import Shape, Warmup
from postalynk.policy.moment import Now
from postalynk.policy.pools import Pools
from postalynk.policy.surface import Attempt, Incoming, Message, Path, Source
from postalynk.policy.verdicts import Verdict

AcceptHook: TypeAlias = Callable[[Incoming, Now], Verdict]
RouteHook: TypeAlias = Callable[[Message, Pools, Now], Route]
ShapeHook: TypeAlias = Callable[[Path], Shape]
WarmupHook: TypeAlias = Callable[[Source, Now], Warmup | None]
RetryHook: TypeAlias = Callable[[Attempt], Retry]
Kind: TypeAlias = Literal["accept", "route", "shape", "warmup", "retry"]

_Accept = TypeVar("_Accept", bound=AcceptHook)
_Route = TypeVar("_Route", bound=RouteHook)
_Shape = TypeVar("_Shape", bound=ShapeHook)
_Warmup = TypeVar("_Warmup", bound=WarmupHook)
_Retry = TypeVar("_Retry", bound=RetryHook)

NOTES: Final = "__postalynk_hooks__"
"""The module global in which the decorators note hooks."""


class Note(NamedTuple):
    """A decorated function and what it was decorated as."""

    kind: Kind
    org: str | None
    function: Callable[..., Any]


class _Policy:
    """`policy`: the decorators ``@policy.accept``, ``route``, ``shape``, ``warmup``, ``retry``.

    Bare, a hook is for everybody; with ``org="org_42"`` for that organization alone, which then
    never asks the other one: the most specific wins. One function per hook and organization.
    """

    @overload
    def accept(self, function: _Accept, /) -> _Accept: ...
    @overload
    def accept(self, /, *, org: str) -> Callable[[_Accept], _Accept]: ...
    def accept(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function whether a message is taken in: ``(msg, now) -> Accept | Reject``.

            @policy.accept
            def accept(msg: Incoming, now: Now) -> Accept | Reject:
                if len(msg.recipients) > 100 and msg.org.plan == "trial":
                    return Reject(550, "a trial sends to at most 100 recipients at once")
                return Accept()

        Without this hook every valid message is. One that raises or takes too long accepts.
        """
        return _note("accept", function, org)

    @overload
    def route(self, function: _Route, /) -> _Route: ...
    @overload
    def route(self, /, *, org: str) -> Callable[[_Route], _Route]: ...
    def route(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function where a delivery goes: ``(msg, pools, now) -> Route``.

        @policy.route
        def route(msg: Message, pools: Pools, now: Now) -> Route:
            return Route("majors" if msg.rcpt.provider else "default")
        """
        return _note("route", function, org)

    @overload
    def shape(self, function: _Shape, /) -> _Shape: ...
    @overload
    def shape(self, /, *, org: str) -> Callable[[_Shape], _Shape]: ...
    def shape(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function for the limits of a path: ``(path) -> Shape``.

            @policy.shape
            def shape(path: Path) -> Shape:
                if path.provider == "yahoo":
                    return Shape(connections=10, per_connection=20)
                return Shape(rate="50/s")

        Asked once per path, before it first sends, and again when the policy changes. With ``org``
        the organization's mail has limits and connections of its own on every path, beside those
        of everybody. One that raises leaves the engine's own limits.
        """
        return _note("shape", function, org)

    @overload
    def warmup(self, function: _Warmup, /) -> _Warmup: ...
    @overload
    def warmup(self, /, *, org: str) -> Callable[[_Warmup], _Warmup]: ...
    def warmup(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function for a source's plan: ``(source, now) -> Warmup | None``; None: warm.

            @policy.warmup
            def warmup(source: Source, now: Now) -> Warmup | None:
                return Warmup("2026-03-01", overflow="shared") if source.name == "mta-9" else None

        Asked once a day per source and provider, and when policy or pools change. With ``org`` the
        organization's mail is counted by itself, by this plan. One that raises leaves it warm.
        """
        return _note("warmup", function, org)

    @overload
    def retry(self, function: _Retry, /) -> _Retry: ...
    @overload
    def retry(self, /, *, org: str) -> Callable[[_Retry], _Retry]: ...
    def retry(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function when a failed delivery is tried again: ``(attempt) -> Retry``.

        @policy.retry
        def retry(attempt: Attempt) -> Retry:
            return Retry("15m, 1h*3" if attempt.class_ == "rate" else "1m, 5m*2, 1h*3, 4h*10")
        """
        return _note("retry", function, org)


def _note(kind: Kind, function: Any, org: object) -> Any:
    if org is not None and (not isinstance(org, str) or not org):
        raise ValueError(f"@policy.{kind}(org={org!r}): give the id of an organization")

    def note(hook: Any) -> Any:
        if not hasattr(hook, "__globals__"):
            raise TypeError(f"@policy.{kind} decorates a function, not {hook!r}")
        hook.__globals__.setdefault(NOTES, []).append(Note(kind, org, hook))
        return hook

    return note if function is None else note(function)


policy: Final = _Policy()
