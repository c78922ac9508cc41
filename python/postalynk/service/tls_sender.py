"""Sending yesterday's reports about TLS (`tls_report`), once a day.

Asks DNS who wants one, queues it like any message of the organization whose domain the sender's
address has, and notes the day in ``tls-report.sent`` beside the queue. Some hours after midnight
(`SETTLE`), so that receivers do not get all reports of the world in one minute (RFC 8460, 4.1).
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from postalynk.control.operations import Control
from postalynk.control.preflight import Lookup, Unanswered
from postalynk.control.resolver import Resolver
from postalynk.ingest.border import encode_messages, new_message_id
from postalynk.model import AcceptedMessage, Mailbox
from postalynk.observability import get_logger
from postalynk.queue.protocol import Queue
from postalynk.service import tls_report
from postalynk.service.tls_report import Report
from postalynk.settings import Settings

EVERY_S = 600.0
SETTLE_US = 2 * 3_600_000_000
DAY_US = 86_400_000_000
EXPIRES_US = DAY_US
"""RFC 8460, 5.3: a report that cannot be delivered within a day is not worth more."""

log = get_logger(__name__)


class Counts(Protocol):
    """What is asked of the engine."""

    def tls_report(self, day: int) -> str:
        """The counts of a day."""
        ...


class TlsReportSender:
    """The daily round; runs in the event loop, asks and sends from a thread."""

    def __init__(
        self,
        settings: Settings,
        parts: tuple[Queue, Control, Counts],
        noted: Path,
        post: Callable[[Report, str], None] = tls_report.post,
        lookup: Lookup | None = None,
    ) -> None:
        self._settings = settings
        self._queue, self._control, self._counts = parts
        self._noted = noted
        self._post = post
        self._lookup: Lookup = lookup or Resolver(settings.dns.servers)
        self._is_over = threading.Event()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Send until `stop`."""
        while self._settings.tls_reports.sender and not self._is_over.is_set():
            await asyncio.to_thread(self.turn, time.time_ns() // 1000)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY_S)

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """End `run` after the report under way."""
        self._is_over.set()
        self._wake.set()
        await asyncio.wait([running])

    def turn(self, now_us: int) -> int:
        """Send yesterday's unless they were sent; returns the reports queued or posted."""
        yesterday = tls_report.day_of(now_us) - 1
        if now_us % DAY_US < SETTLE_US or self._last_day() >= yesterday:
            return 0
        policies = json.loads(self._counts.tls_report(yesterday))
        sent = 0
        for report in tls_report.built(policies, yesterday, self._settings.tls_reports):
            if self._is_over.is_set():
                return sent
            try:
                sent += self._send(report, now_us)
            except Exception as error:  # noqa: BLE001 - one domain's report must not stop the others'
                log.warning("a TLS report was not sent", domain=report.domain, error=str(error))
        self._noted.write_text(f"{yesterday}\n")
        return sent

    def _last_day(self) -> int:
        try:
            return int(self._noted.read_text())
        except (OSError, ValueError):
            return -1

    def _send(self, report: Report, now_us: int) -> int:
        try:
            texts = self._lookup.texts(f"_smtp._tls.{report.domain}")
        except Unanswered:
            return 0
        sent = 0
        for place in tls_report.addresses(texts):
            if place.startswith("https:"):
                self._post(report, place)
            else:
                self._append(report, place, now_us)
            sent += 1
        return sent

    def _append(self, report: Report, to: str, now_us: int) -> None:
        sender = self._settings.tls_reports.sender
        name = sender.rpartition("@")[2]
        domain = self._control.directory.domain(name)
        if domain is None:
            raise ValueError(f"tls_reports.sender: no organization here has the domain {name}")
        organization = self._control.directory.organization(domain.org)
        if organization is None:
            raise ValueError(f"tls_reports.sender: the organization of {name} is gone")
        key = new_message_id(now_us // 1000)
        header_id = f"{key.hex()}@{name}"
        is_signing = self._settings.delivery.sign and bool(domain.keys)
        accepted = AcceptedMessage(
            id=key,
            org=organization.id,
            accepted_at_us=now_us,
            expires_at_us=now_us + EXPIRES_US,
            lane="bulk",
            reverse_path=sender,
            recipients=[to],
            from_=Mailbox("", sender),
            to=[Mailbox("", to)],
            cc=[],
            bcc=[],
            reply_to=[],
            subject=f"Report Domain: {report.domain}",
            text="",
            html="",
            headers=[],
            attachments=[],
            tags=[("tls-report", report.domain[:64])],
            message_id=header_id,
            dkim_domain=name if is_signing else "",
            plan=organization.plan,
            in_doubt=organization.in_doubt,
            salt=organization.salt,
            raw=tls_report.message(report, sender, to, header_id),
        )
        self._queue.append(encode_messages([accepted], self._queue.partitions))
