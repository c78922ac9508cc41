"""What hooks answer: frozen, hashable values that check themselves when they are made.

An answer that exists is a valid one, except that only the worker knows which pools there are.
Equal answers are equal and hash alike, so that a batch with three different ones is resolved
three times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias, get_args

import msgspec

from postalynk.policy.spans import parse_clock, parse_schedule, parse_span

By: TypeAlias = Literal["message", "org", "rcpt"]
Lane: TypeAlias = Literal["high", "normal", "bulk"]
Scope: TypeAlias = Literal["delivery", "path"]

# RFC 5322 section 3.6.8: printable US-ASCII without the colon.
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}", re.ASCII)
# C0 controls and DEL could end the line or the header; a tab has no business in a value either.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What the composer, the signer, relays and receivers write: a route has no say in it. The engine's
# own list (rust/mime/src/header.rs) is checked too, so one that is missing here is refused there.
_STRUCTURAL_NAMES = (
    "from to cc bcc reply-to subject date message-id mime-version sender return-path received"
    " received-spf delivered-to dkim-signature domainkey-signature dkim2-signature message-instance"
    " authentication-results"
)
_STRUCTURAL = frozenset(_STRUCTURAL_NAMES.split())
_STRUCTURAL_PREFIXES = ("arc-", "resent-", "content-")
# `why` and projections show reasons; a longer one is a debugging dump.
MAX_REASON = 200
LANES: tuple[Lane, ...] = get_args(Lane)


def _check_header(name: object, value: object = "") -> None:
    if not isinstance(name, str) or _HEADER_NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} is no header name; use 1 to 76 printable ASCII characters, no colon"
        )
    if name.lower() in _STRUCTURAL or name.lower().startswith(_STRUCTURAL_PREFIXES):
        raise ValueError(f"the header {name!r} belongs to the message's structure: leave it alone")
    if not isinstance(value, str) or _CONTROL.search(value):
        raise ValueError(f"the value {value!r} of header {name!r} must be one line of text")


class Set(msgspec.Struct, frozen=True):
    """Put this header in place of every other of its name: ``Set("X-Campaign", "spring")``."""

    name: str
    value: str

    def __post_init__(self) -> None:
        _check_header(self.name, self.value)


class Add(msgspec.Struct, frozen=True):
    """Add a header and leave others of its name: ``Add("X-Note", "routed at night")``."""

    name: str
    value: str

    def __post_init__(self) -> None:
        _check_header(self.name, self.value)


class Remove(msgspec.Struct, frozen=True):
    """Take out every header of this name: ``Remove("X-Internal-Id")``."""

    name: str

    def __post_init__(self) -> None:
        _check_header(self.name)


HeaderOp: TypeAlias = Set | Add | Remove
"""An operation on a header: ``headers=[Set("X-Campaign", "spring"), Remove("X-Internal")]``."""


class Split(msgspec.Struct, frozen=True):
    """Pools by share, drawn by keyed hash: ``split({"shared": 95, "canary": 5})`` makes one."""

    shares: tuple[tuple[str, int], ...]
    by: By


def split(shares: Mapping[str, int], *, by: By = "message") -> Split:
    """Divide traffic over pools: ``split({"shared": 95, "canary": 5}, by="org")``.

    Shares are whole numbers, relative to their sum. ``by`` says what is never divided: a message,
    an organization or a recipient's address. The draw is a hash of it, so it is the same at a
    retry, in a replay and in every worker; when a share grows, only what moves to it moves.
    Raises ValueError for no pools, a negative or fractional share, a sum of 0, an unknown ``by``.
    """
    if by not in ("message", "org", "rcpt"):
        raise ValueError(f"split by={by!r}: use 'message', 'org' or 'rcpt'")
    for pool, share in shares.items():
        _check_pool(pool)
        if type(share) is not int or share < 0:
            raise ValueError(
                f"the share {share!r} of pool {pool!r} must be a whole number, 0 or more"
            )
    if sum(shares.values()) < 1:
        raise ValueError(f"split({dict(shares)!r}) gives nothing to any pool")
    return Split(tuple(shares.items()), by)


def _check_pool(pool: object) -> None:
    if not isinstance(pool, str) or not pool:
        raise ValueError(f"{pool!r} is no pool; give its name, or split({{name: share, …}})")


class _Target(msgspec.Struct, frozen=True):
    pool: str | Split


class Route(_Target, frozen=True, kw_only=True, cache_hash=True):
    """Where a delivery goes.

        Route("majors", fallback=["default"], reason="major mailbox provider")
        Route(split({"shared": 95, "canary": 5}, by="org"))
        Route("shared", not_before="07:00")
        Route("dedicated", pin="mta-3", lane="high", headers=[Set("X-Campaign", "spring")])

    ``pool``: a pool's name, or a `split`. ``fallback``: pools to take, in order, while the first
    cannot. ``not_before``: the next time the clock shows ``HH:MM`` (UTC; for an hour from then on
    it means now), or a datetime with its zone; a time that is past means now. ``headers``:
    operations on the message's headers, in order, before it is signed; those of its structure
    (From, Date, Content-…) are refused. ``lane``: the lane it waits in on its path, ``high``,
    ``normal`` or ``bulk``; left out, the message's own. ``pin``: the source of the pool it must
    leave by; left out, the one its organization is bound to. ``reason``: a few words that
    ``postalynk why`` shows. Raises ValueError for anything else.
    """

    fallback: Sequence[str] = ()
    not_before: str | datetime | None = None
    headers: Sequence[HeaderOp] = ()
    lane: Lane | Literal[""] = ""
    pin: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        pool = self.pool
        if type(pool) is not str or not pool:
            if type(pool) is not Split:
                _check_pool(pool)
        # Most routes stop here: nothing but a pool and, perhaps, a constant reason.
        if self.fallback != ():
            if isinstance(self.fallback, str):
                raise ValueError(f"fallback={self.fallback!r}: give a list, [{self.fallback!r}]")
            for name in self.fallback:
                _check_pool(name)
            msgspec.structs.force_setattr(self, "fallback", tuple(self.fallback))
        if self.not_before is not None:
            _check_not_before(self.not_before)
        if self.headers != ():
            for operation in self.headers:
                if not isinstance(operation, Set | Add | Remove):
                    raise ValueError(f"headers: {operation!r} is not Set(…), Add(…) or Remove(…)")
            msgspec.structs.force_setattr(self, "headers", tuple(self.headers))
        if self.lane != "" and self.lane not in LANES:
            raise ValueError(f"lane={self.lane!r}: use 'high', 'normal' or 'bulk'")
        if type(self.pin) is not str:
            raise ValueError(f"pin={self.pin!r}: give the name of a source of the pool")
        if type(self.reason) is not str or len(self.reason) > MAX_REASON:
            raise ValueError(f"reason must be text of at most {MAX_REASON} characters")

    @property
    def pools(self) -> tuple[str, ...]:
        """Every pool the answer names, the fallback ones last."""
        pool = self.pool
        first = tuple(name for name, _ in pool.shares) if isinstance(pool, Split) else (pool,)
        return (*first, *self.fallback)


def _check_not_before(value: object) -> None:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"not_before={value!r} has no time zone; use datetime(…, tzinfo=UTC)")
    elif isinstance(value, str):
        parse_clock(value)
    else:
        raise ValueError(f"not_before={value!r}: give 'HH:MM' (UTC) or a datetime with its zone")


class _Schedule(msgspec.Struct, frozen=True):
    schedule: str


class Retry(_Schedule, frozen=True, kw_only=True):
    """When a failed delivery is tried again: ``Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d")``.

    ``schedule``: the delay after the first failure, after the second and so on; the last repeats
    until ``max_age`` after the first attempt, or until the message itself expires. The last attempt
    is made at that moment; failing then is final. ``jitter``: every delay is drawn from
    ``delay * (1 - jitter)`` to ``delay * (1 + jitter)``, so that what failed together does not come
    back together. ``scope``: ``"delivery"``, this one waits; ``"path"``, everything on its path
    (source and site) waits as long, without an attempt: ``Retry("15m, 1h*3", scope="path")`` for a
    receiver that says all of one's mail is too much. Raises ValueError with the step that is wrong.
    """

    max_age: str = "3d"
    jitter: float = 0.2
    scope: Scope = "delivery"

    def __post_init__(self) -> None:
        texts: tuple[object, ...] = (self.schedule, self.max_age)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("schedule and max_age are texts, such as '1m, 5m*2' and '3d'")
        parse_schedule(self.schedule)
        if parse_span(self.max_age) < 1:
            raise ValueError(f"max_age={self.max_age!r} must be at least 1s")
        if type(self.jitter) not in (int, float) or not 0 <= self.jitter < 1:
            raise ValueError(
                f"jitter={self.jitter!r} must be a number from 0 up to, not including, 1"
            )
        if self.scope not in get_args(Scope):
            raise ValueError(f"scope={self.scope!r}: use 'delivery' or 'path'")

    @property
    def delays_s(self) -> tuple[int, ...]:
        """The delays in seconds, in order, before jitter."""
        return parse_schedule(self.schedule)

    @property
    def max_age_s(self) -> int:
        """How long after the first attempt the last one may be, in seconds."""
        return parse_span(self.max_age)
