"""The fast pass: a decoded request becomes an `AcceptedMessage`, or the first flaw is raised.

Runs a thousand times for one request, so it copies nothing and remembers sender addresses: a batch
usually has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from postalynk.ingest import checks
from postalynk.ingest.border import holds_nul
from postalynk.ingest.checks import Flaw
from postalynk.ingest.filling import MAX_WORK, Filled, fill
from postalynk.ingest.schema import (
    UNAVAILABLE,
    AttachmentRequest,
    CalendarRequest,
    EmailRequest,
)
from postalynk.model import AcceptedMessage, Attachment, Calendar, Mailbox

if TYPE_CHECKING:
    from postalynk.control.directory import Directory
    from postalynk.control.values import Organization, Template

T = TypeVar("T")

Sender = tuple[Mailbox, str, str]
"""A mailbox, its domain, and the domain that signs (empty: none does)."""


class ForeignDomain(Flaw):
    """The sender domain is not the organization's."""


NOT_FILLED = Filled(None, None, None, None, 0)


class Composer:
    """Composes the messages of one request of one organization, at one moment."""

    __slots__ = ("_directory", "_is_signing", "_senders", "_work", "now_us", "organization")

    def __init__(
        self,
        directory: Directory,
        organization: Organization,
        now_us: int,
        *,
        is_signing: bool = True,
    ) -> None:
        self._directory = directory
        self._is_signing = is_signing
        self.organization = organization
        self._senders: dict[str, Sender] = {}
        self._work = MAX_WORK
        self.now_us = now_us

    def sender(self, text: str) -> Sender:
        """The sender's mailbox and domain; raises ForeignDomain unless the domain is its own."""
        found = self._senders.get(text)
        if found is None:
            mailbox = checks.mailbox(text)
            name = mailbox.address.rpartition("@")[2]
            domain = self._directory.domain(name)
            if domain is None or domain.org != self.organization.id:
                raise ForeignDomain(
                    f"the domain {name} is not one of your organization",
                    f"add it: postalynk domain add {name} --org {self.organization.id}",
                )
            found = (mailbox, name, name if self._is_signing and domain.keys else "")
            self._senders[text] = found
        return found

    def template(self, id_: str) -> Template:
        """A template of the organization; raises Flaw, also for another organization's."""
        found = self._directory.template(id_)
        if found is None or found.org != self.organization.id:
            raise Flaw("there is no template with this id", "list them: GET /templates")
        return found

    def fill(
        self, template: Template, variables: dict[str, Any] | None, *, has_subject: bool
    ) -> Filled:
        """The template filled in; raises Flaw. One request has a budget for all its templates."""
        if self._work <= 0:
            raise Flaw(
                "the templates of this request take too much work", "send fewer messages at a time"
            )
        try:
            filled = fill(template, variables, has_subject=has_subject)
        except ValueError:
            # What a failure took is not known; a part may take as much as this.
            self._work -= MAX_WORK // 100
            raise
        self._work -= filled.work
        return filled

    def _content(self, request: EmailRequest) -> Filled:
        """The template a message names, filled in; or nothing, where it has its own content."""
        if request.template is None:
            return NOT_FILLED
        if request.html is not None or request.text is not None:
            raise Flaw(*TWO_CONTENTS)
        template = self.template(request.template.id)
        has_subject = request.subject is not None
        return self.fill(template, request.template.variables, has_subject=has_subject)

    def compose(self, request: EmailRequest, message_id: bytes) -> AcceptedMessage:
        """The message under the id given; raises ValueError (mostly `Flaw`) at the first flaw."""
        filled = self._content(request)
        from_ = filled.sender if request.from_ is None else request.from_
        subject = filled.subject if request.subject is None else request.subject
        if from_ is None or subject is None:
            raise Flaw("is missing", "give from and subject")
        mailbox, domain, dkim_domain = self.sender(from_)
        to = checks.mailboxes(request.to)
        if not to:
            raise Flaw("names no recipient", "name at least one")
        cc, bcc = checks.mailboxes(request.cc), checks.mailboxes(request.bcc)
        text = request.text or ""
        html = request.html or ""
        if holds_nul(text) or holds_nul(html):
            raise Flaw("contains a NUL character", "remove it")
        if not (text or html or request.attachments or filled.filling or request.calendar):
            raise Flaw(*NO_CONTENT)
        refuse_unavailable(request)
        expires_at_us = 0
        if request.expires_at is not None:
            expires_at_us = checks.in_future(checks.to_us(request.expires_at), self.now_us)
        scheduled_at_us = 0
        if request.scheduled_at is not None:
            scheduled_at_us = checks.in_future(checks.to_us(request.scheduled_at), self.now_us)
            checks.before_expiry(scheduled_at_us, expires_at_us)
        return AcceptedMessage(
            id=message_id,
            org=self.organization.id,
            accepted_at_us=self.now_us,
            expires_at_us=expires_at_us,
            scheduled_at_us=scheduled_at_us,
            lane=request.priority or "normal",
            reverse_path=mailbox.address,
            recipients=envelope(to, cc, bcc),
            from_=mailbox,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=checks.mailboxes(
                filled.reply_to if request.reply_to is None else request.reply_to
            ),
            subject=checks.line(subject, checks.MAX_SUBJECT),
            text=text,
            html=html,
            headers=headers(request.headers, own_headers(request)) if request.headers else [],
            attachments=attachments(request.attachments) if request.attachments else [],
            no_plain_text=request.auto_text is False or request.text == "",
            calendar=calendar(request.calendar),
            template=filled.filling,
            list_unsubscribe=given(checks.unsubscribe, request.list_unsubscribe, ""),
            feedback_id=given(checks.feedback_id, request.feedback_id, ""),
            dkim_expires_s=given(checks.expiry_s, request.dkim_expires_s, 0),
            require_tls=bool(request.require_tls),
            tls_optional=is_tls_optional(request.headers or {}),
            tags=tags([(t.name, t.value) for t in request.tags]) if request.tags else [],
            message_id=f"{uuid_text(message_id)}@{domain}",
            dkim_domain=dkim_domain,
            plan=self.organization.plan,
            in_doubt=self.organization.in_doubt,
            salt=self.organization.salt,
        )


NO_CONTENT = ("there is no content", "give html, text, a template or attachments")
TWO_CONTENTS = ("stands beside a template", "give html and text, or a template")
TWO_HEADERS = ("is written from a field of its own", "give the field or the header")


def own_headers(request: EmailRequest) -> set[str]:
    """Names, in lower case, of the headers that fields of the message become."""
    return header_names(
        has_unsubscribe=request.list_unsubscribe is not None,
        has_feedback_id=request.feedback_id is not None,
    )


def header_names(*, has_unsubscribe: bool, has_feedback_id: bool) -> set[str]:
    """The same, for both passes."""
    names = {"list-unsubscribe", "list-unsubscribe-post"} if has_unsubscribe else set()
    return names | {"feedback-id"} if has_feedback_id else names


def is_tls_optional(given: dict[str, str]) -> bool:
    """Whether a header says ``TLS-Required: No`` (RFC 8689 section 3)."""
    return any(n.lower() == "tls-required" and v.strip().lower() == "no" for n, v in given.items())


def calendar(given: CalendarRequest | None) -> Calendar | None:
    """A checked calendar object, if there is one."""
    return None if given is None else checks.calendar(given.object, given.method)


def given(check: Callable[[T], T], value: T | None, absent: T) -> T:
    """A checked value, or what stands for none."""
    return absent if value is None else check(value)


def refuse_unavailable(request: EmailRequest) -> None:
    """Refuse fields that are known but not built: ignoring one would send the wrong thing."""
    if request.topic_id is not None:
        raise Flaw(UNAVAILABLE["topic_id"], "leave it out")


def envelope(to: list[Mailbox], cc: list[Mailbox], bcc: list[Mailbox]) -> list[str]:
    """RCPT TO: every address once, in the order to, cc, bcc."""
    if len(to) == 1 and not cc and not bcc:
        return [to[0].address]
    return list(dict.fromkeys(m.address for m in (*to, *cc, *bcc)))


def headers(given: dict[str, str], taken: set[str]) -> list[tuple[str, str]]:
    """Custom headers in the order given; a name may stand only once, whatever its case."""
    if len(given) > checks.MAX_HEADERS:
        raise checks.too_many(len(given), checks.MAX_HEADERS)
    if len({name.lower() for name in given}) != len(given):
        raise Flaw("names a header twice", "give each header once")
    if taken and any(name.lower() in taken for name in given):
        raise Flaw(*TWO_HEADERS)
    return [checks.header(name, value) for name, value in given.items()]


def tags(given: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Tags in the order given; a name may stand only once."""
    if len(given) > checks.MAX_TAGS:
        raise checks.too_many(len(given), checks.MAX_TAGS)
    if len({name for name, _ in given}) != len(given):
        raise Flaw("names a tag twice", "give each tag one value")
    return [(checks.tag(name), checks.tag(value)) for name, value in given]


def attachments(given: list[AttachmentRequest]) -> list[Attachment]:
    """Decoded attachments; content ids are unique within a message."""
    if len(given) > checks.MAX_ATTACHMENTS:
        raise checks.too_many(len(given), checks.MAX_ATTACHMENTS)
    made = [
        checks.attachment(
            checks.content(a.content),
            a.filename,
            a.content_type,
            a.content_id if a.content_id is not None else a.inline_content_id,
        )
        for a in given
    ]
    ids = [a.content_id for a in made if a.content_id]
    if len(set(ids)) != len(ids):
        raise Flaw("uses a content id twice", "give each inline attachment its own")
    return made


def uuid_text(raw: bytes) -> str:
    """A UUID's canonical form (RFC 9562 section 4)."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
