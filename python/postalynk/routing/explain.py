"""Explain: what a hook read, which line answered, and what that comes to.

**Model.** The hook is run once on proxies that note each attribute as it is read, under a trace
that notes the lines of the policy's own files; then the delivery is resolved as a worker would. The
two answers are compared: a hook that answers differently to the same question is not repeatable.
**Cost.** Some ten microseconds; the worker does this for a sample.
**Not here.** What the engine did with the answer: the attempts' events tell that.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from postalynk.routing.resolve import Resolver

if TYPE_CHECKING:
    from types import FrameType

    from postalynk.policy import Message, Now, Policies, Pools

_VIEWS = frozenset({"org", "rcpt", "delivery"})
"""Attributes that are views themselves: what is read of them is noted, not they."""


class Read(msgspec.Struct, frozen=True):
    """One thing the hook looked at."""

    name: str
    """``msg.rcpt.site``, ``"canary" in pools``, ``now.between('22:00', '07:00')``."""
    value: str


class Explanation(msgspec.Struct, frozen=True):
    """Why a delivery goes where it goes."""

    version: str
    function: str
    place: str
    """``policy.py:12``, where the hook begins."""
    reads: list[Read]
    """In order; the same thing read twice is there once."""
    line: str
    """``policy.py:15``, the line that answered or raised."""
    source: str
    """That line's text."""
    answer: str
    """What the hook answered, or the exception it raised."""
    pool: str
    """After a split is drawn, or the fallback is taken (G4)."""
    fallback: list[str]
    not_before_us: int
    """0: at once."""
    reason: str
    is_fallback: bool
    is_repeatable: bool
    """Whether asking again gave the same answer."""


def explain(policies: Policies, msg: Message, pools: Pools, now: Now) -> Explanation:
    """Ask the policy about one delivery and watch it answer."""
    hook = policies.route_for(msg.org.id)
    log: list[Read] = []
    lines: list[tuple[str, int]] = []
    before = sys.gettrace()
    sys.settrace(_tracer(policies, hook.function.__code__, lines))
    try:
        answer = hook.function(_View(msg, "msg", log), _Pools(pools, log), _Now(now, log))
        shown, again = repr(answer), None
    except Exception as error:  # noqa: BLE001  explaining a failure is the point
        answer, shown, again = None, f"raised {type(error).__name__}: {error}", error
    finally:
        sys.settrace(before)
    resolved = Resolver(policies).resolve([msg], pools, now)
    try:
        is_repeatable = hook.function(msg, pools, now) == answer
    except Exception as error:  # noqa: BLE001  as above
        is_repeatable = again is not None and repr(again) == repr(error)
    file, line = lines[-1] if lines else (hook.function.__code__.co_filename, 0)
    pool, fallback, not_before_us, _, reason, is_fallback, version, *_ = resolved.routes[0]
    return Explanation(
        version,
        hook.name,
        hook.place,
        list(dict.fromkeys(log)),
        f"{policies.files.get(file, file)}:{line}",
        _source(policies, file, line),
        shown,
        pool,
        list(fallback),
        not_before_us,
        reason,
        is_fallback,
        is_repeatable,
    )


def _tracer(policies: Policies, code: Any, lines: list[tuple[str, int]]) -> Any:
    """Notes the lines of the hook's own frame; a helper's lines lead to no answer."""

    def local(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            lines.append((frame.f_code.co_filename, frame.f_lineno))
        return local

    def every(frame: FrameType, event: str, _argument: object) -> Any:
        is_ours = event == "call" and frame.f_code is code
        return local if is_ours and frame.f_code.co_filename in policies.files else None

    return every


def _source(policies: Policies, file: str, line: int) -> str:
    name = policies.files.get(file, "")
    if policies.bundle.path(name) != file:
        return ""  # a hook of the shipped policy, which is not in this bundle
    text = policies.bundle.content[name].decode(errors="replace").splitlines()
    return text[line - 1].strip() if 0 < line <= len(text) else ""


class _View:
    """Notes what is read of an object."""

    def __init__(self, target: Any, path: str, log: list[Read]) -> None:
        self._target, self._path, self._log = target, path, log

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        path = f"{self._path}.{name}"
        if name in _VIEWS:
            return _View(value, path, self._log)
        if name == "tags":
            return _Tags(value, path, self._log)
        return _noted(path, value, self._log)


class _Tags(dict[str, str]):
    """Notes which tags are looked up; a policy that walks over them has read them all."""

    def __init__(self, tags: Any, path: str, log: list[Read]) -> None:
        super().__init__(tags)
        self._path, self._log = path, log

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        self._log.append(Read(f"{self._path}.get({key!r})", repr(value)))
        return value

    def __getitem__(self, key: str) -> str:
        value = super().__getitem__(key)
        self._log.append(Read(f"{self._path}[{key!r}]", repr(value)))
        return value

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        self._log.append(Read(f"{key!r} in {self._path}", repr(found)))
        return found

    def __iter__(self) -> Any:
        self._log.append(Read(self._path, repr(dict(self.items()))))
        return super().__iter__()


class _Pools:
    def __init__(self, pools: Pools, log: list[Read]) -> None:
        self._pools, self._log = pools, log

    def __contains__(self, name: str) -> bool:
        self._log.append(Read(f"{name!r} in pools", repr(name in self._pools)))
        return name in self._pools

    def __getitem__(self, name: str) -> Any:
        return _View(self._pools[name], f"pools[{name!r}]", self._log)

    def __iter__(self) -> Any:
        self._log.append(Read("pools", repr(list(self._pools))))
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._pools, name)
        if name == "names":
            self._log.append(Read("pools.names", repr(sorted(value))))
            return value
        return _noted(f"pools.{name}", value, self._log)


class _Now:
    def __init__(self, now: Now, log: list[Read]) -> None:
        self._now, self._log = now, log

    def __getattr__(self, name: str) -> Any:
        return _noted(f"now.{name}", getattr(self._now, name), self._log)


def _noted(path: str, value: Any, log: list[Read]) -> Any:
    """Note a value as it is read, a method as it is called."""
    if not callable(value):
        log.append(Read(path, repr(value)))
        return value

    def call(*arguments: Any) -> Any:
        answer = value(*arguments)
        log.append(Read(f"{path}({', '.join(map(repr, arguments))})", repr(answer)))
        return answer

    return call
