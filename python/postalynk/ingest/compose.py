"""The fast pass: a decoded request becomes an `AcceptedMessage`, or the first flaw is raised.

Runs a thousand times for one request, so it copies nothing and remembers sender addresses: a batch
usually has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.ingest import checks
from postalynk.ingest.checks import Flaw
from postalynk.ingest.schema import UNAVAILABLE, AttachmentRequest, EmailRequest
from postalynk.model import AcceptedMessage, Attachment, Mailbox

if TYPE_CHECKING:
    from postalynk.control.directory import Directory
    from postalynk.control.values import Organization

Sender = tuple[Mailbox, str, str]
"""A mailbox, its domain, and the domain that signs (empty: none does)."""


class ForeignDomain(Flaw):
    """The sender domain is not the organization's."""


class Composer:
    """Composes the messages of one request of one organization, at one moment."""

    __slots__ = ("_directory", "_is_signing", "_senders", "now_us", "organization")

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

    def compose(self, request: EmailRequest, message_id: bytes) -> AcceptedMessage:
        """The message under the id given; raises ValueError (mostly `Flaw`) at the first flaw."""
        mailbox, domain, dkim_domain = self.sender(request.from_)
        to = checks.mailboxes(request.to)
        if not to:
            raise Flaw("names no recipient", "name at least one")
        cc = checks.mailboxes(request.cc)
        bcc = checks.mailboxes(request.bcc)
        text = request.text or ""
        html = request.html or ""
        if "\0" in text or "\0" in html:
            raise Flaw("contains a NUL character", "remove it")
        if not (text or html or request.attachments):
            raise Flaw(*NO_CONTENT)
        refuse_unavailable(request)
        expires_at_us = 0
        if request.expires_at is not None:
            expires_at_us = checks.in_future(checks.to_us(request.expires_at), self.now_us)
        organization = self.organization
        return AcceptedMessage(
            id=message_id,
            org=organization.id,
            accepted_at_us=self.now_us,
            expires_at_us=expires_at_us,
            lane=request.priority or "normal",
            reverse_path=mailbox.address,
            recipients=envelope(to, cc, bcc),
            from_=mailbox,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=checks.mailboxes(request.reply_to),
            subject=checks.line(request.subject, checks.MAX_SUBJECT),
            text=text,
            html=html,
            headers=headers(request.headers) if request.headers else [],
            attachments=attachments(request.attachments) if request.attachments else [],
            tags=tags([(t.name, t.value) for t in request.tags]) if request.tags else [],
            message_id=f"{uuid_text(message_id)}@{domain}",
            dkim_domain=dkim_domain,
            plan=organization.plan,
            in_doubt=organization.in_doubt,
        )


NO_CONTENT = ("there is no content", "give html, text or attachments")


def refuse_unavailable(request: EmailRequest) -> None:
    """Refuse fields that are known but not built: ignoring one would send the wrong thing."""
    for name in ("scheduled_at", "template", "topic_id"):
        if getattr(request, name) is not None:
            raise Flaw(UNAVAILABLE[name], "leave it out")


def envelope(to: list[Mailbox], cc: list[Mailbox], bcc: list[Mailbox]) -> list[str]:
    """RCPT TO: every address once, in the order to, cc, bcc."""
    if len(to) == 1 and not cc and not bcc:
        return [to[0].address]
    return list(dict.fromkeys(m.address for m in (*to, *cc, *bcc)))


def headers(given: dict[str, str]) -> list[tuple[str, str]]:
    """Custom headers in the order given; a name may stand only once, whatever its case."""
    if len(given) > checks.MAX_HEADERS:
        raise checks.too_many(len(given), checks.MAX_HEADERS)
    if len({name.lower() for name in given}) != len(given):
        raise Flaw("names a header twice", "give each header once")
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
