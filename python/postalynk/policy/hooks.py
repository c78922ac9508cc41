"""The decorators: they note a function as a hook in its own module and return it unchanged.

Unchanged, so that a test calls it like any function; in its own module, so that two policies
loaded one after the other never meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, overload

from postalynk.policy.answers import Retry, Route
from postalynk.policy.moment import Now
from postalynk.policy.pools import Pools
from postalynk.policy.surface import Attempt, Message

RouteHook: TypeAlias = Callable[[Message, Pools, Now], Route]
RetryHook: TypeAlias = Callable[[Attempt], Retry]
Kind: TypeAlias = Literal["route", "retry"]

_Route = TypeVar("_Route", bound=RouteHook)
_Retry = TypeVar("_Retry", bound=RetryHook)

NOTES: Final = "__postalynk_hooks__"
"""The module global in which the decorators note hooks."""


class Note(NamedTuple):
    """A decorated function and what it was decorated as."""

    kind: Kind
    org: str | None
    function: Callable[..., Any]


class _Policy:
    """`policy`: the decorators ``@policy.route`` and ``@policy.retry``.

    Bare, a hook is for everybody; with ``org="org_42"`` for that organization alone, which then
    never asks the other one. One function per hook and organization.
    """

    @overload
    def route(self, function: _Route, /) -> _Route: ...
    @overload
    def route(self, /, *, org: str) -> Callable[[_Route], _Route]: ...
    def route(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function where a delivery goes: ``(msg, pools, now) -> Route``."""
        return _note("route", function, org)

    @overload
    def retry(self, function: _Retry, /) -> _Retry: ...
    @overload
    def retry(self, /, *, org: str) -> Callable[[_Retry], _Retry]: ...
    def retry(self, function: Any = None, /, *, org: str | None = None) -> Any:
        """Ask this function when a failed delivery is tried again: ``(attempt) -> Retry``."""
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
