"""Daily reports about TLS (RFC 8460): what sessions with a domain came to, for that domain's eyes.

**Model.** The engine counts sessions by UTC day and policy (`Engine.tls_report`). A domain with a
TXT record at ``_smtp._tls.`` gets one JSON report a day for what was counted of it: by mail, signed
and queued like any other, or by POST. A day's reports leave once, some hours after its end; the day
that was sent last is noted in a file beside the queue.
**Bounds.** A day is sent once, also when it was only half sent before a crash: at most one report
comes twice. A domain without a record gets none.
**Not here.** Counting.
"""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING, Any

from postalynk.engine import tlsrpt_rua

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postalynk.settings import TlsReports

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POST_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Report:
    """One domain's day."""

    domain: str
    report_id: str
    submitter: str
    begin: datetime
    body: dict[str, Any]
    """RFC 8460 section 4.4."""

    def packed(self) -> bytes:
        """The JSON, gzipped; the same report packs to the same octets."""
        return gzip.compress(json.dumps(self.body).encode(), mtime=0)

    def filename(self) -> str:
        """RFC 8460 section 5.1."""
        begin, end = (int(at.timestamp()) for at in (self.begin, self.begin + timedelta(days=1)))
        return f"{self.submitter}!{self.domain}!{begin}!{end - 1}!{self.report_id}.json.gz"


def day_of(now_us: int) -> int:
    """The UTC day, in days since 1970."""
    return now_us // 86_400_000_000


def built(policies: Sequence[dict[str, Any]], day: int, settings: TlsReports) -> list[Report]:
    """One report per policy domain of a day's counts, sorted by domain."""
    by_domain: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for policy in policies:
        by_domain[policy["policy"]["policy-domain"]].append(policy)
    submitter = settings.sender.rpartition("@")[2] or "localhost"
    begin = EPOCH + timedelta(days=day)
    end = begin + timedelta(days=1, seconds=-1)
    reports = []
    for domain in sorted(by_domain):
        report_id = f"{begin:%Y-%m-%d}T00:00:00Z_{domain}"
        body = {
            "organization-name": settings.organization or submitter,
            "date-range": {
                "start-datetime": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
                "end-datetime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            },
            "contact-info": settings.contact or settings.sender,
            "report-id": report_id,
            "policies": by_domain[domain],
        }
        reports.append(Report(domain, report_id, submitter, begin, body))
    return reports


def addresses(texts: Sequence[str]) -> list[str]:
    """Where the TXT records of ``_smtp._tls.`` want reports: mailboxes, and ``https:`` URLs."""
    return tlsrpt_rua(texts)


def message(report: Report, sender: str, to: str, message_id: str) -> bytes:
    """The report as mail (RFC 8460 section 5.3), with CRLF line ends."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = (
        f"Report Domain: {report.domain} Submitter: {report.submitter} "
        f"Report-ID: <{report.report_id}@{report.submitter}>"
    )
    mail["Date"] = report.begin + timedelta(days=1)
    mail["Message-ID"] = f"<{message_id}>"
    mail["TLS-Report-Domain"] = report.domain
    mail["TLS-Report-Submitter"] = report.submitter
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"TLS sessions with {report.domain} on {report.begin:%Y-%m-%d} (UTC).\n")
    mail.add_attachment(
        report.packed(),
        maintype="application",
        subtype="tlsrpt+gzip",
        filename=report.filename(),
    )
    mail.replace_header("Content-Type", 'multipart/report; report-type="tlsrpt"')
    mail.set_boundary(f"=_{report.begin:%Y%m%d}_{len(report.domain)}_tlsrpt")
    return mail.as_bytes()


class _StandStill(urllib.request.HTTPRedirectHandler):
    """No second place: the domain named one, in its own DNS."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none: the status is an error then."""


def post(report: Report, uri: str) -> None:
    """Send a report to an ``https:`` address (section 5.4); raises OSError when it is not taken.

    A redirect is not followed: what it leads to was named by no one's DNS.
    """
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        uri,
        data=report.packed(),
        headers={"Content-Type": "application/tlsrpt+gzip", "User-Agent": "postalynk"},
        method="POST",
    )
    opener = urllib.request.build_opener(_StandStill)
    with opener.open(request, timeout=POST_TIMEOUT_S):
        pass
