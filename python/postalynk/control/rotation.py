"""Changing a domain's signing keys without a gap: publish → wait for DNS → sign → retire.

**Problem.** A signature whose record a receiver cannot find counts as none, and the record of an
old key must outlive the mail signed with it. Neither may depend on anybody watching.
**Model.** A key is in one of four states, kept with its domain in ``email.config``::

    waiting ──▶ signing ──▶ retiring ──▶ retired ──▶ gone
    record to    signs       signs no     key          its record
    publish                  more         destroyed    is gone from DNS

`advance` is a pure function of the domain, of what DNS was just seen to show and of the time; it is
asked again and again, by the running process and by ``postalynk domain check``, and does nothing
when nothing is due. All waiting keys of a domain begin to sign in one step, in which those that
signed begin to retire.
**Invariants.** A key begins to sign only in a step in which DNS shows it and after having been seen
for `Waits.settle_us`; a domain that signs goes on signing. An answer that did not come changes
nothing.
**Law** ``rotation_is_without_a_gap`` (a property test of this name): whatever DNS shows and
whenever it is looked at, only what it shows begins to sign, a domain signs with both algorithms at
every moment, and a key outlives its last signature by `Waits.retire_us`.
**Not here.** Asking DNS (`postalynk.service.rotation`), making keys (`postalynk.control.domains`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from postalynk.control.values import DkimKey, Domain

US_PER_S = 1_000_000


class Waits(msgspec.Struct, frozen=True):
    """How long each step lasts at least, in microseconds."""

    settle_us: int = 600 * US_PER_S
    """From the first sight of a record to signing with it: servers of a zone differ for minutes."""
    retire_us: int = 604_800 * US_PER_S
    """From the last signature to the end of a key: longer than any message is retried."""


DEFAULT_WAITS = Waits()


def is_pending(domain: Domain) -> bool:
    """Whether a later look at DNS may change anything."""
    return any(key.state != "signing" for key in domain.keys)


def shown_name(domain: str, selector: str) -> str:
    """Where a key is published (RFC 6376 section 3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"


def with_new_keys(domain: Domain, keys: Sequence[DkimKey], now_us: int) -> Domain:
    """The domain with keys that wait to be published."""
    waiting = [msgspec.structs.replace(k, state="waiting", since_us=now_us) for k in keys]
    return msgspec.structs.replace(domain, keys=[*domain.keys, *waiting])


def advance(domain: Domain, shown: Mapping[str, bool], waits: Waits, now_us: int) -> Domain:
    """The domain after a look at DNS.

    ``shown``: selector → whether DNS shows the key's record; absent: no server answered. Gives the
    very same object when nothing changes.
    """
    keys = [_seen(key, shown, now_us) for key in domain.keys]
    waiting = [key for key in keys if key.state == "waiting"]
    if waiting and all(_may_sign(key, shown, waits, now_us) for key in waiting):
        keys = [_swapped(key, now_us) for key in keys]
    kept = [
        _aged(key, waits, now_us)
        for key in keys
        if key.state != "retired" or shown.get(key.selector, True)
    ]
    if kept == domain.keys:
        return domain
    return msgspec.structs.replace(domain, keys=kept)


def _seen(key: DkimKey, shown: Mapping[str, bool], now_us: int) -> DkimKey:
    if key.state != "waiting" or key.selector not in shown:
        return key
    since_us = (key.shown_since_us or now_us) if shown[key.selector] else 0
    return msgspec.structs.replace(key, shown_since_us=since_us)


def _may_sign(key: DkimKey, shown: Mapping[str, bool], waits: Waits, now_us: int) -> bool:
    # Shown in this very look: it may have gone since the last one.
    return shown.get(key.selector, False) and now_us - key.shown_since_us >= waits.settle_us


def _swapped(key: DkimKey, now_us: int) -> DkimKey:
    if key.state == "waiting":
        return msgspec.structs.replace(key, state="signing", since_us=now_us)
    if key.state == "signing":
        return msgspec.structs.replace(key, state="retiring", since_us=now_us)
    return key


def _aged(key: DkimKey, waits: Waits, now_us: int) -> DkimKey:
    if key.state != "retiring" or now_us - key.since_us < waits.retire_us:
        return key
    # Destroyed: nothing of the private key is left but this; the queue compacts the old value away.
    return msgspec.structs.replace(key, state="retired", since_us=now_us, sealed="")
