"""What hooks read: read-only views, satisfied by the engine's objects and by any test double.

Reading an attribute asks the engine for that one value; what a policy does not read costs
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol


class Organization(Protocol):
    """The tenant a message belongs to: ``msg.org.plan == "dedicated"``."""

    @property
    def id(self) -> str:
        """Stable for ever: ``msg.org.id == "org_4h2k"``, or ``msg.org.id in VIP``."""
        ...

    @property
    def plan(self) -> str:
        """The plan's name when the message was accepted: ``"dedicated"``; may be empty."""
        ...


class Recipient(Protocol):
    """The one address a delivery goes to: ``msg.rcpt.provider == "google"``."""

    @property
    def address(self) -> str:
        """Local part as given, domain in lower case as an A-label: ``"Ada@example.com"``."""
        ...

    @property
    def domain(self) -> str:
        """The part behind the @: ``"gmail.com"``."""
        ...

    @property
    def site(self) -> str:
        """The group of MX hosts that receives the domain: ``"google"``, else the MX's own domain.

        Every domain hosted by Google Workspace has the site of gmail.com. Limits are per site.
        """
        ...

    @property
    def provider(self) -> str:
        """The provider behind the site: ``"google"``, ``"outlook"``; empty: not a known one."""
        ...

    @property
    def suppression_age_s(self) -> float:
        """Seconds since the organization suppressed the address, which is lifted now.

        ``msg.rcpt.suppression_age_s < 30 * 86_400``: within the last month. Infinite for one that
        never was suppressed, or is forgotten. No policy is asked while it is suppressed.
        """
        ...


class Message(Protocol):
    """One delivery: a message on its way to one recipient.

    What `route` is asked about; read-only, and what a policy does not read costs nothing.

        if msg.priority == "bulk" and msg.size_bytes > 5_000_000:
            return Route("large", fallback=["default"])
    """

    @property
    def id(self) -> str:
        """As the API answered it, a UUIDv7: ``"01990000-0000-7000-8000-000000000001"``."""
        ...

    @property
    def org(self) -> Organization:
        """Whose message it is: ``msg.org.plan == "dedicated"``."""
        ...

    @property
    def priority(self) -> str:
        """What the sender asked for: ``"high"``, ``"normal"`` or ``"bulk"``."""
        ...

    @property
    def lane(self) -> str:
        """The lane it waits in, today always the priority: ``msg.lane == "bulk"``."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """The sender's tags: ``msg.tags.get("campaign") == "spring"``."""
        ...

    @property
    def template(self) -> str:
        """The id of the stored template it is made from: ``"tmpl_…"``; empty: of none."""
        ...

    @property
    def sender(self) -> str:
        """The reverse-path (MAIL FROM): ``"bounce@mail.example.com"``."""
        ...

    @property
    def sender_domain(self) -> str:
        """The part of `sender` behind the @: ``"mail.example.com"``."""
        ...

    @property
    def rcpt(self) -> Recipient:
        """The recipient of this delivery: ``msg.rcpt.site == "google"``."""
        ...

    @property
    def size_bytes(self) -> int:
        """Size of the accepted content in octets: ``msg.size_bytes > 5_000_000``."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the attempt being routed, 1 is the first: ``msg.attempt > 3``."""
        ...

    @property
    def age_s(self) -> float:
        """Seconds since the message was accepted: ``msg.age_s > 3_600``."""
        ...

    @property
    def last_reply(self) -> str:
        """The reply to the attempt before, ``"451 4.7.1 Try again later"``; empty at the first."""
        ...


class Incoming(Protocol):
    """What `accept` is asked about: a valid message at the door, of a sender who may send it.

    It is not in the queue yet: no recipient's site is known, and nothing was tried.

        if len(msg.recipients) > 100 and msg.org.plan == "trial":
            return Reject(550, "a trial sends to at most 100 recipients at once")
    """

    @property
    def org(self) -> Organization:
        """Whose message it is: ``msg.org.plan == "trial"``."""
        ...

    @property
    def priority(self) -> str:
        """What the sender asked for: ``"high"``, ``"normal"`` or ``"bulk"``."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """The sender's tags: ``msg.tags.get("campaign") == "spring"``."""
        ...

    @property
    def template(self) -> str:
        """The id of the stored template it is made from: ``"tmpl_…"``; empty: of none."""
        ...

    @property
    def sender(self) -> str:
        """The author's address as the From header has it: ``"news@example.com"``."""
        ...

    @property
    def sender_domain(self) -> str:
        """The part of `sender` behind the @: ``"example.com"``."""
        ...

    @property
    def recipients(self) -> Sequence[str]:
        """The envelope's addresses in order: ``len(msg.recipients) > 100``."""
        ...

    @property
    def domains(self) -> Sequence[str]:
        """The recipients' domains, each once, sorted: ``"example.org" in msg.domains``."""
        ...

    @property
    def subject(self) -> str:
        """Empty where there is none, and over SMTP: ``msg.subject.startswith("[test]")``."""
        ...

    @property
    def attachments(self) -> int:
        """How many; 0 over SMTP, where parts are not read: ``msg.attachments > 0``."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its parts, or the whole of it over SMTP, in octets: ``msg.size_bytes > 5_000_000``."""
        ...

    @property
    def channel(self) -> str:
        """The way it came: ``"http"`` or ``"smtp"``."""
        ...


class Path(Protocol):
    """What `shape` is asked about: the way from one source to one site.

    ``return Shape(connections=10) if path.provider == "yahoo" else Shape(rate="50/s")``
    """

    @property
    def source(self) -> str:
        """The egress source: ``"mta-1"``."""
        ...

    @property
    def site(self) -> str:
        """The group of MX hosts it leads to: ``"google"``, else the MX's own domain."""
        ...

    @property
    def provider(self) -> str:
        """The provider behind the site: ``"google"``, ``"outlook"``; empty: not a known one."""
        ...


class Source(Protocol):
    """What `warmup` is asked about: an egress source as one provider sees it.

    ``return Warmup("2026-03-01") if "fresh" in source.pools else None``
    """

    @property
    def name(self) -> str:
        """The egress source: ``source.name == "mta-1"``."""
        ...

    @property
    def pools(self) -> Sequence[str]:
        """The pools it belongs to, sorted: ``"fresh" in source.pools``."""
        ...

    @property
    def provider(self) -> str:
        """The provider whose day this is: ``"google"``; empty: all that are not a known one."""
        ...


class Attempt(Protocol):
    """What `retry` is asked about: an attempt that did not succeed and may be repeated.

    ``return Retry("15m, 1h*3") if attempt.class_ == "rate" else Retry("1m, 5m*2, 1h*3")``
    """

    @property
    def delivery(self) -> Message:
        """The delivery it was made for: ``attempt.delivery.priority == "high"``."""
        ...

    @property
    def kind(self) -> str:
        """``"deferred"``, or ``"in_doubt"`` when the link broke after the final dot (G2)."""
        ...

    @property
    def attempt(self) -> int:
        """Its number, 1 is the first: ``attempt.attempt >= 5``."""
        ...

    @property
    def code(self) -> int:
        """The reply's code, such as 451 (RFC 5321 section 4.2); 0: there was no reply."""
        ...

    @property
    def enhanced(self) -> str:
        """The enhanced code, such as ``"4.7.28"`` (RFC 3463); empty: the receiver gave none."""
        ...

    @property
    def reply(self) -> str:
        """The reply's text, lines joined by a newline: ``"Try again later"``."""
        ...

    @property
    def class_(self) -> str:
        """The kind of trouble: ``"rate"``, ``"reputation"``, ``"mailbox"``, ``"transport"``, …."""
        ...

    @property
    def first_attempt_at_us(self) -> int:
        """When the delivery was tried first, in microseconds since the Unix epoch.

        ``attempt.at_us - attempt.first_attempt_at_us > 3_600 * 1_000_000``: for over an hour.
        """
        ...

    @property
    def at_us(self) -> int:
        """When this attempt ended, in microseconds since the Unix epoch: ``Now(attempt.at_us)``."""
        ...
