"""Suppression lists: the addresses that an organization sends nothing to, and since when.

**Problem.** Who bounced for good, complained or asked to be left alone must get no more mail. A
list may be long, and sending must not stop when PostgreSQL does.
**Model.** Beside the other control state, in ``email.config``: one value an address, under
``suppression/ORG/ADDRESS`` with the address in lower case. It is no part of the `Directory`'s
snapshot, which is built anew at every change. The engine holds the lists in force and asks them
just before a delivery is routed, so they count for mail that was accepted before, too.
**Law `lifted_is_known`.** What is lifted stays, with its end, so that a policy can tell how long
ago it was; `forget` leaves nothing.
**Not here.** Putting addresses in because of bounces, complaints or unsubscriptions: an operator or
an application does it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from postalynk.control.border import normal_address
from postalynk.control.values import PARTITION, TOPIC, Value, decode, encode, pairs
from postalynk.errors import ControlError
from postalynk.observability import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from postalynk.queue.protocol import Queue

log = get_logger(__name__)

PREFIX = "suppression/"
MAX_REASON = 200
MAX_ADDRESSES = 10_000
"""In one change; a longer list takes several."""


class Suppression(Value, frozen=True, kw_only=True):
    """One address of one organization's list; `created_at_us` is since when."""

    org: str
    address: str
    """In lower case, its domain as an A-label."""
    reason: str = ""
    until_us: int = 0
    """Its end, in microseconds since the Unix epoch; 0: none."""


class Suppressions:
    """The lists of all organizations; calls block for one durable append."""

    def __init__(
        self, queue: Queue, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        """``clock`` gives microseconds since the Unix epoch."""
        self._queue = queue
        self._clock = clock
        self._listeners: list[Callable[[str], None]] = []
        self._told: set[str] = set()

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with an organization after every change of its list."""
        self._listeners.append(listener)

    def add(
        self, org: str, addresses: Iterable[str], *, reason: str, until_us: int = 0
    ) -> list[Suppression]:
        """Suppress addresses from now on, until ``until_us`` (0: for good).

        Raises ControlError naming what is wrong; nothing is changed then.
        """
        now_us = self._clock()
        if not reason.isprintable() or len(reason) > MAX_REASON:
            raise ControlError(
                f"the reason {reason[:40]!r} is none",
                fix=f"use at most {MAX_REASON} printable characters",
            )
        if until_us and until_us <= now_us:
            raise ControlError("the suppression would be over already", fix="give a later end")
        return self._write(
            org,
            [
                Suppression(
                    org=org, address=name, reason=reason, until_us=until_us, created_at_us=now_us
                )
                for name in _normal(addresses)
            ],
        )

    def lift(self, org: str, addresses: Iterable[str]) -> list[Suppression]:
        """End suppressions now; raises ControlError for an address that is not on the list."""
        now_us = self._clock()
        found = self._present(org, _normal(addresses))
        ended = [
            entry
            if 0 < entry.until_us <= now_us
            else msgspec.structs.replace(entry, until_us=now_us)
            for entry in found
        ]
        return self._write(org, ended)

    def forget(self, org: str, addresses: Iterable[str]) -> list[Suppression]:
        """Take entries away without a trace; raises ControlError for one that is not there."""
        found = self._present(org, _normal(addresses))
        self._queue.append([(TOPIC, PARTITION, _key(org, e.address), None) for e in found])
        self._tell(org)
        return found

    def of(self, org: str) -> Iterator[Suppression]:
        """An organization's list, by address; what is over is in it."""
        return self._read(f"{PREFIX}{org}/")

    def is_over(self, entry: Suppression) -> bool:
        """Whether the address gets mail again."""
        return 0 < entry.until_us <= self._clock()

    def reload(self) -> None:
        """Tell of every list: another process may have changed it."""
        listed = {entry.org for entry in self._read(PREFIX)}
        # One that is empty now is told of too, once.
        for org in sorted(self._told | listed):
            self._tell(org)
        self._told = listed

    def _present(self, org: str, addresses: Sequence[str]) -> list[Suppression]:
        keys = [_key(org, address) for address in addresses]
        found = self._queue.get(TOPIC, PARTITION, keys)
        entries: list[Suppression] = []
        for address, key, raw in zip(addresses, keys, found, strict=True):
            if raw is None:
                raise ControlError(
                    f"{address} is not on the list of {org}",
                    fix=f"postalynk suppression list {org}",
                )
            entries.append(decode(Suppression, key, raw))
        return entries

    def _write(self, org: str, entries: list[Suppression]) -> list[Suppression]:
        keys = [_key(org, entry.address) for entry in entries]
        before = self._queue.get(TOPIC, PARTITION, keys)
        self._queue.append(
            [
                (TOPIC, PARTITION, key, encode(entry, previous))
                for key, entry, previous in zip(keys, entries, before, strict=True)
            ]
        )
        self._tell(org)
        return entries

    def _read(self, prefix: str) -> Iterator[Suppression]:
        return (decode(Suppression, key, raw) for key, raw in pairs(self._queue, prefix.encode()))

    def _tell(self, org: str) -> None:
        self._told.add(org)
        for listener in self._listeners:
            try:
                listener(org)
            except Exception:
                # The change is durable; a deaf listener must not deny it.
                log.exception("a listener of suppressions failed", org=org)


def _normal(addresses: Iterable[str]) -> list[str]:
    """Each once, in lower case, in the order given."""
    names: dict[str, None] = {}
    for text in addresses:
        try:
            names[normal_address(text).lower()] = None
        except ValueError as error:
            raise ControlError(
                f"{text[:100]!r} is no address: {error}", fix="write it like ada@example.com"
            ) from error
    if not 0 < len(names) <= MAX_ADDRESSES:
        raise ControlError(
            f"{len(names)} addresses are named", fix=f"name 1 to {MAX_ADDRESSES} at a time"
        )
    return list(names)


def _key(org: str, address: str) -> bytes:
    return f"{PREFIX}{org}/{address}".encode()
