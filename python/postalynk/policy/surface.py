"""What hooks read: read-only views, satisfied by the engine's objects and by any test double.

Reading an attribute asks the engine for that one value; what a policy does not read costs
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol


class Organization(Protocol):
    """The tenant a message belongs to."""

    @property
    def id(self) -> str:
        """Such as ``"org_4h2k…"``; stable for ever."""
        ...

    @property
    def plan(self) -> str:
        """The plan's name when the message was accepted, such as ``"dedicated"``; may be empty."""
        ...


class Recipient(Protocol):
    """The one address a delivery goes to."""

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


class Message(Protocol):
    """One delivery: a message on its way to one recipient."""

    @property
    def id(self) -> str:
        """The message's id, as the API answered it."""
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
        """The lane it waits in; today always the priority."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """The sender's tags: ``msg.tags.get("campaign") == "spring"``."""
        ...

    @property
    def sender(self) -> str:
        """The reverse-path (MAIL FROM): ``"bounce@mail.example.com"``."""
        ...

    @property
    def sender_domain(self) -> str:
        """The part of `sender` behind the @."""
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
        """The number of the attempt being routed: 1 is the first."""
        ...

    @property
    def age_s(self) -> float:
        """Seconds since the message was accepted."""
        ...

    @property
    def last_reply(self) -> str:
        """The reply to the attempt before, ``"451 4.7.1 Try again later"``; empty at the first."""
        ...


class Incoming(Protocol):
    """What `accept` is asked about: a valid message at the door, of a sender who may send it.

    It is not in the queue yet: no recipient's site is known, and nothing was tried.
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
    def sender(self) -> str:
        """The author's address as the From header has it: ``"news@example.com"``."""
        ...

    @property
    def sender_domain(self) -> str:
        """The part of `sender` behind the @."""
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
        """The subject; empty where there is none, and of a message that came over SMTP."""
        ...

    @property
    def attachments(self) -> int:
        """How many attachments; 0 of a message that came over SMTP, whose parts are not read."""
        ...

    @property
    def size_bytes(self) -> int:
        """Text, HTML and attachments, or the whole of it over SMTP, in octets."""
        ...

    @property
    def channel(self) -> str:
        """The way it came: ``"http"`` or ``"smtp"``."""
        ...


class Path(Protocol):
    """What `shape` is asked about: the way from one source to one site."""

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
    """What `warmup` is asked about: an egress source as one provider sees it."""

    @property
    def name(self) -> str:
        """``"mta-1"``."""
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
    """An attempt that did not succeed and may be repeated."""

    @property
    def delivery(self) -> Message:
        """The delivery it was made for."""
        ...

    @property
    def kind(self) -> str:
        """``"deferred"``, or ``"in_doubt"`` when the link broke after the final dot (G2)."""
        ...

    @property
    def attempt(self) -> int:
        """Its number: 1 is the first."""
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
        """The reply's text, lines joined by a newline."""
        ...

    @property
    def class_(self) -> str:
        """The kind of trouble: ``"rate"``, ``"reputation"``, ``"mailbox"``, ``"transport"``, …."""
        ...

    @property
    def first_attempt_at_us(self) -> int:
        """When the delivery was tried first, in microseconds since the Unix epoch."""
        ...

    @property
    def at_us(self) -> int:
        """When this attempt ended, in microseconds since the Unix epoch."""
        ...
