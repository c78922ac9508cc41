"""Made-up deliveries, attempts, pools and instants; each satisfies the protocol of its name.

They are the values of `postalynk.policy.views`, with a way to make some up and with defaults for
whatever a test does not care about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from postalynk.policy import pools as surface
from postalynk.policy.moment import Now
from postalynk.policy.views import (
    IncomingView,
    MessageView,
    OrganizationView,
    PathView,
    RecipientView,
    SourceView,
)

Priority: TypeAlias = Literal["high", "normal", "bulk"]

PROVIDERS: Mapping[str, tuple[str, str]] = {
    "google": ("gmail.com", "google"),
    "yahoo": ("yahoo.com", "yahoo"),
    "outlook": ("outlook.com", "outlook"),
    "office365": ("contoso.example", "office365"),
    "icloud": ("icloud.com", "icloud"),
}
"""Provider → a domain it receives and its site."""

# A Monday, so that "at 09:00" is a working hour for a policy that looks at the weekday.
_DAY = "2026-01-05"


class Organization(OrganizationView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Organization`: ``Organization("org_42", "dedicated")``."""

    id: str = "org_test"
    plan: str = "standard"


class Recipient(RecipientView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Recipient`: ``Recipient("ada@gmail.com", "gmail.com")``."""

    address: str = "ada@example.org"
    domain: str = "example.org"
    site: str = "example.org"
    provider: str = ""


class Message(MessageView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Message`: ``Message.fake(provider="google")`` makes one."""

    @classmethod
    def fake(
        cls,
        *,
        id: str = "01990000-0000-7000-8000-000000000001",  # noqa: A002  the attribute's own name
        org: str = "org_test",
        plan: str = "standard",
        priority: Priority = "normal",
        tags: Mapping[str, str] | None = None,
        template: str = "",
        sender: str = "bounce@mail.example.com",
        to: str = "",
        site: str = "",
        provider: str = "",
        size_bytes: int = 2_000,
        attempt: int = 1,
        age_s: float = 0.0,
        last_reply: str = "",
        suppression_age_s: float = math.inf,
    ) -> Message:
        """A delivery: ``Message.fake(provider="google", priority="bulk")``.

        ``to``: the recipient's address; left out, one that ``provider`` receives, else
        ``ada@example.org``. ``site``: left out, the provider's, else the domain. ``size_bytes`` in
        octets, ``age_s`` in seconds since acceptance, ``suppression_age_s`` since the address was
        suppressed (infinite: never). Raises ValueError for an address without @.
        """
        known = PROVIDERS.get(provider, ("", ""))
        address = to or f"ada@{known[0] or 'example.org'}"
        return cls(
            id=id,
            org=Organization(org, plan),
            priority=priority,
            lane=priority,
            tags=dict(tags or {}),
            template=template,
            sender=sender,
            sender_domain=_domain(sender),
            rcpt=Recipient(
                address,
                _domain(address),
                site or known[1] or _domain(address),
                provider,
                suppression_age_s,
            ),
            size_bytes=size_bytes,
            attempt=attempt,
            age_s=age_s,
            last_reply=last_reply,
        )


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfies `postalynk.policy.Attempt`: ``Attempt.fake("421 4.7.28 Too fast")`` makes one."""

    delivery: Message = msgspec.field(default_factory=Message.fake)
    kind: str = "deferred"
    attempt: int = 1
    code: int = 451
    enhanced: str = "4.7.1"
    reply: str = "Try again later"
    class_: str = "other"
    first_attempt_at_us: int = 0
    at_us: int = 0

    @classmethod
    def fake(
        cls,
        reply: str = "451 4.7.1 Try again later",
        *,
        class_: str = "other",
        kind: Literal["deferred", "in_doubt"] = "deferred",
        attempt: int = 1,
        delivery: Message | None = None,
        now: Now | None = None,
    ) -> Attempt:
        """A failure: ``Attempt.fake("421 4.7.28 Too fast", class_="rate", attempt=3)``.

        ``reply``: code, enhanced code if any, text; empty: the link broke without one. ``class_``:
        the engine's word for the trouble. ``now``: when it ended; the first attempt was then too.
        Raises ValueError when ``reply`` begins with no code.
        """
        code, enhanced, text = _parse(reply)
        at_us = (now or at("12:00")).at_us
        return cls(
            delivery=delivery or Message.fake(attempt=attempt),
            kind=kind,
            attempt=attempt,
            code=code,
            enhanced=enhanced,
            reply=text,
            class_=class_,
            first_attempt_at_us=at_us,
            at_us=at_us,
        )


class Incoming(IncomingView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Incoming`: ``Incoming.fake(plan="trial")`` makes one."""

    @classmethod
    def fake(
        cls,
        *,
        org: str = "org_test",
        plan: str = "standard",
        priority: Priority = "normal",
        tags: Mapping[str, str] | None = None,
        template: str = "",
        sender: str = "news@example.com",
        to: Sequence[str] = ("ada@example.org",),
        subject: str = "Hello",
        attachments: int = 0,
        size_bytes: int = 2_000,
        channel: Literal["http", "smtp"] = "http",
    ) -> Incoming:
        """A message at the door: ``Incoming.fake(plan="trial", to=["ada@example.org"])``.

        ``to``: the envelope's addresses; ``size_bytes`` in octets. Raises ValueError for an
        address without @.
        """
        return cls(
            org=Organization(org, plan),
            priority=priority,
            tags=dict(tags or {}),
            template=template,
            sender=sender,
            sender_domain=_domain(sender),
            recipients=tuple(to),
            domains=tuple(sorted({_domain(address) for address in to})),
            subject=subject,
            attachments=attachments,
            size_bytes=size_bytes,
            channel=channel,
        )


class Path(PathView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Path`: ``Path("mta-1", "google", "google")``."""

    source: str = "mta-1"
    site: str = "example.org"
    provider: str = ""

    @classmethod
    def fake(cls, *, source: str = "mta-1", site: str = "", provider: str = "") -> Path:
        """A path: ``Path.fake(provider="google")``; ``site``: left out, the provider's."""
        return cls(source, site or PROVIDERS.get(provider, ("", "example.org"))[1], provider)


class Source(SourceView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Source`: ``Source("mta-1", ("default",), "google")``."""

    name: str = "mta-1"
    pools: Sequence[str] = ("default",)
    provider: str = ""

    @classmethod
    def fake(
        cls, name: str = "mta-1", *, pools: Sequence[str] = ("default",), provider: str = ""
    ) -> Source:
        """A source as one provider sees it: ``Source.fake("mta-9", provider="google")``."""
        return cls(name, tuple(sorted(pools)), provider)


class Pools(surface.Pools):
    """`postalynk.policy.Pools`, with a way to make some up: ``Pools.fake("a", "b")``."""

    __slots__ = ()

    @classmethod
    def fake(
        cls,
        *names: str,
        shut: Sequence[str] = (),
        blamed: Mapping[tuple[str, str], float] | None = None,
    ) -> Pools:
        """The pools named, or those every installation has: ``default``, ``high``, ``majors``.

        Each has one source, named like the pool. ``shut``: pools that are not healthy, because
        the only path of their source is shut: ``Pools.fake("a", "b", shut=["a"])``. ``blamed``:
        (pool, site) → share of 100 attempts that was blamed on the sender, 0.0 to 1.0:
        ``Pools.fake(blamed={("majors", "google"): 0.2})``, whose reputation there is poor.
        """
        chosen = names or ("default", "high", "majors")
        paths = [surface.PathState(pool, "example.org", False, 0, 0, 100.0, 0.0) for pool in shut]
        standings = [
            surface.Standing(pool, site, 100.0, share, 0.0, share)
            for (pool, site), share in (blamed or {}).items()
        ]
        return cls({name: (name,) for name in chosen}, lambda: paths, lambda: standings)


def at(clock: str) -> Now:
    """An instant, in UTC: ``at("23:00")`` of a Monday, or ``at("2026-03-01 23:00")``.

    Raises ValueError for other texts.
    """
    text = clock if "-" in clock else f"{_DAY} {clock}"
    try:
        instant = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"at({clock!r}): write 'HH:MM' or 'YYYY-MM-DD HH:MM' (UTC)") from None
    return Now(round(instant.timestamp()) * 1_000_000)


def _domain(address: str) -> str:
    _, mark, domain = address.rpartition("@")
    if not mark or not domain:
        raise ValueError(f"{address!r} is no address; write ada@example.org")
    return domain.lower()


def _parse(reply: str) -> tuple[int, str, str]:
    if not reply:
        return 0, "", ""
    code, _, rest = reply.partition(" ")
    if len(code) != 3 or not code.isdigit():
        raise ValueError(f"{reply!r} is no reply; write '451 4.7.1 Try again later'")
    enhanced, _, text = rest.partition(" ")
    if enhanced.count(".") == 2 and enhanced.replace(".", "").isdigit():
        return int(code), enhanced, text
    return int(code), "", rest
