"""A message that came by SMTP becomes an `AcceptedMessage`, or the first thing wrong with it.

**What changes.** ``Received`` and a missing ``Message-ID`` and ``Date`` are put in front; Bcc and
``X-Postalynk-*`` fields are gone already (`postalynk._engine.Submission`). All else stays.
**What is checked.** The domains of MAIL FROM (unless it is the null path) and of From are the
organization's; From is one mailbox, so nobody can disagree about which; recipients are addresses.
The other header fields are only shown, never sent from here, so they are read as well as can be.
"""

from __future__ import annotations

import contextlib
import email.header
import email.utils
import re
from datetime import UTC, datetime
from email.errors import MessageError
from typing import TYPE_CHECKING, get_args

from postalynk.ingest import checks
from postalynk.ingest.answers import Problem, shown
from postalynk.ingest.border import parse_address
from postalynk.ingest.checks import Flaw
from postalynk.ingest.compose import Composer, ForeignDomain, Sender, tags, uuid_text
from postalynk.ingest.received import received
from postalynk.model import AcceptedMessage, Lane, Mailbox

if TYPE_CHECKING:
    from postalynk.ingest.border import SubmittedMessage

MAX_SHOWN = 50
"""Mailboxes of To or Cc that a projection shows."""
MAX_LIST = 20_000
"""Characters of such a field that are looked at."""

_OLD_NAME = re.compile(r"(\S+@\S+) +\(([^()]*)\)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Refused(Exception):
    """Why the message is not taken."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def compose(
    item: SubmittedMessage, composer: Composer, message_id: bytes, host: str
) -> AcceptedMessage:
    """The message under the id given, received by ``host``; raises Refused."""
    reverse_path = _reverse_path(item.reverse_path, composer)
    sender, domain, dkim_domain = _from(item.from_, composer)
    asked = _recipients(item)
    recipients = list(asked)
    lane = _lane(item.priority)
    header_id = item.message_id or f"{uuid_text(message_id)}@{domain}"
    to, cc = mailboxes(item.to), mailboxes(item.cc)
    named = {box.address.lower() for box in (*to, *cc)}
    organization = composer.organization
    return AcceptedMessage(
        id=message_id,
        org=organization.id,
        accepted_at_us=composer.now_us,
        expires_at_us=0,
        lane=lane,
        reverse_path=reverse_path,
        recipients=recipients,
        from_=Mailbox(decoded(sender.name), sender.address),
        to=to,
        cc=cc,
        bcc=[Mailbox("", address) for address in recipients if address.lower() not in named],
        reply_to=mailboxes(item.reply_to),
        subject=decoded(item.subject)[: checks.MAX_SUBJECT],
        text="",
        html="",
        headers=[],
        attachments=[],
        tags=_tags(item.tags),
        message_id=_clean(header_id)[: checks.MAX_SUBJECT],
        dkim_domain=dkim_domain,
        plan=organization.plan,
        in_doubt=organization.in_doubt,
        salt=organization.salt,
        raw=received(item, message_id, composer.now_us, host)
        + _missing(item, header_id, composer.now_us)
        + item.raw,
        require_tls=item.require_tls,
        tls_optional=item.tls_optional,
        ret=item.ret,
        envelope_id=item.envelope_id,
        notify=[notify for notify, _ in asked.values()],
        orcpt=[orcpt for _, orcpt in asked.values()],
    )


def _refuse(field: str, value: str, error: ValueError, fix: str) -> Refused:
    fix = error.fix if isinstance(error, Flaw) else fix
    is_foreign = isinstance(error, ForeignDomain)
    return Refused(Problem(field, shown(value), str(error), fix, is_foreign))


def _reverse_path(address: str, composer: Composer) -> str:
    if not address:
        return ""
    try:
        return composer.sender(address)[0].address
    except ValueError as error:
        raise _refuse("MAIL FROM", address, error, "give an address of yours") from error


def _from(value: str, composer: Composer) -> Sender:
    text = value.replace("\t", " ")
    old = _OLD_NAME.fullmatch(text)  # the form cron and old mailers write
    try:
        sender = composer.sender(old[1] if old else text)
    except ValueError as error:
        raise _refuse("From", value, error, "give one mailbox: Name <a@b.example>") from error
    return (Mailbox(old[2], sender[0].address), *sender[1:]) if old else sender


def _recipients(item: SubmittedMessage) -> dict[str, tuple[str, str]]:
    """Address → (NOTIFY, ORCPT), in order; of an address given twice the first counts."""
    found: dict[str, tuple[str, str]] = {}
    given = zip(item.recipients, item.notify, item.orcpt, strict=True)
    for address, notify, orcpt in given:
        try:
            found.setdefault(parse_address(address), (notify, orcpt))
        except ValueError as error:
            raise _refuse("RCPT TO", address, error, "correct the address") from error
    return found


def _lane(priority: str) -> Lane:
    lanes: dict[str, Lane] = {lane: lane for lane in get_args(Lane)}
    lane = lanes.get(priority.lower() or "normal")
    if lane is None:
        error = Flaw("is no priority", "use high, normal or bulk")
        raise _refuse("X-Postalynk-Priority", priority, error, "")
    return lane


def _tags(given: list[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given]
    try:
        return tags([(name.strip(), value.strip()) for name, _, value in pairs])
    except ValueError as error:
        raise _refuse("X-Postalynk-Tag", ", ".join(given), error, "write name=value") from error


def _missing(item: SubmittedMessage, header_id: str, now_us: int) -> bytes:
    """The fields RFC 6409 sections 8.2 and 8.3 let us add."""
    lines = "" if item.message_id else f"Message-ID: <{header_id}>\r\n"
    if not item.has_date:
        date = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        lines += f"Date: {email.utils.format_datetime(date)}\r\n"
    return lines.encode()


def mailboxes(value: str) -> list[Mailbox]:
    """The mailboxes of a header field, as far as they can be told."""
    if not value:
        return []
    pairs = email.utils.getaddresses([value[:MAX_LIST]])[:MAX_SHOWN]
    return [Mailbox(decoded(name), _clean(address)) for name, address in pairs if address]


def decoded(text: str) -> str:
    """Text for people: encoded words (RFC 2047) read, nothing in it that a database refuses."""
    if "=?" in text:
        # What cannot be read is shown as it stands.
        with contextlib.suppress(ValueError, LookupError, MessageError):
            text = str(email.header.make_header(email.header.decode_header(text)))
    return _clean(text)


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()
