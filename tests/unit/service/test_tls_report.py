"""Reports about TLS: built from counts, wrapped as mail, sent once a day to those who ask."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.service import tls_report
from postalynk.service.tls_sender import DAY_US, TlsReportSender
from postalynk.settings import Settings, TlsReports
from tests.fakes.queue import MemoryQueue

COUNTS = [
    {
        "policy": {"policy-type": "no-policy-found", "policy-domain": domain},
        "summary": {"total-successful-session-count": 3, "total-failure-session-count": 0},
    }
    for domain in ("b.example", "a.example", "c.example")
]
SETTINGS = Settings(tls_reports=TlsReports(sender="tls@acme.example", organization="Acme"))
NOW_US = 20_000 * DAY_US + 3 * 3_600_000_000


class Counts:
    """An engine that has counted one day."""

    def tls_report(self, day: int) -> str:
        return json.dumps(COUNTS if day == 19_999 else [])


class Names:
    """A DNS in which these records stand."""

    def __init__(self, texts: dict[str, list[str]]) -> None:
        self._texts = texts

    def texts(self, name: str) -> list[str]:
        return self._texts.get(name, [])

    def addresses(self, name: str) -> list[str]:
        return []

    def exchanges(self, name: str) -> list[str]:
        return []

    def names(self, address: str) -> list[str]:
        return []


def test_a_report_is_what_the_rfc_shows() -> None:
    reports = tls_report.built(COUNTS, 19_999, SETTINGS.tls_reports)
    assert [report.domain for report in reports] == ["a.example", "b.example", "c.example"]
    body = reports[0].body
    assert body["organization-name"] == "Acme"
    assert body["contact-info"] == "tls@acme.example"
    assert body["date-range"] == {
        "start-datetime": "2024-10-03T00:00:00Z",
        "end-datetime": "2024-10-03T23:59:59Z",
    }
    assert body["policies"] == [COUNTS[1]]


def test_it_reads_back_from_its_mail() -> None:
    report = tls_report.built(COUNTS, 19_999, SETTINGS.tls_reports)[0]
    raw = tls_report.message(report, "tls@acme.example", "r@a.example", "1@acme.example")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail.get_content_type() == "multipart/report"
    assert mail["TLS-Report-Domain"] == "a.example"
    _, packed = mail.iter_parts()
    assert packed.get_content_type() == "application/tlsrpt+gzip"
    assert json.loads(gzip.decompress(packed.get_content())) == report.body
    assert raw == tls_report.message(report, "tls@acme.example", "r@a.example", "1@acme.example")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=TLSRPTv1; rua=mailto:a@b.example"], ["a@b.example"]),
        (
            ["v=TLSRPTv1;rua=https://x.example/r , mailto:a@b"],
            ["https://x.example/r", "a@b"],
        ),
        (["v=TLSRPTv1;rua=http://x.example/"], []),
        (["v=TLSRPTv1;rua=mailto:a@b"] * 2, []),
        (["v=spf1 -all"], []),
        ([], []),
    ],
)
def test_who_asks_for_reports(texts: list[str], found: list[str]) -> None:
    assert tls_report.addresses(texts) == found


def test_an_address_that_would_break_a_header_is_none() -> None:
    for uri, found in (
        ("mailto:a%40b@c.example?subject=x", ["a@b@c.example"]),
        ("mailto:a%0D%0Ab@c.example", []),
        ("mailto:a%2Cb@c.example", []),
    ):
        assert tls_report.addresses([f"v=TLSRPTv1; rua={uri}"]) == found


def test_a_day_is_sent_once(tmp_path: Path) -> None:
    queue = MemoryQueue()
    control = Control(queue, Secrets(bytes(32)))
    org = control.create_organization("Acme").org
    control.add_domain("acme.example", org)
    posted: list[tuple[str, str]] = []

    def post(report: Any, uri: str) -> None:
        posted.append((report.domain, uri))

    names = Names(
        {
            "_smtp._tls.a.example": ["v=TLSRPTv1; rua=mailto:r@a.example"],
            "_smtp._tls.b.example": ["v=TLSRPTv1; rua=https://b.example/r"],
        }
    )
    sender = TlsReportSender(
        SETTINGS, (queue, control, Counts()), tmp_path / "sent", post=post, lookup=names
    )
    assert sender.turn(NOW_US - 2 * 3_600_000_000) == 0, "the day has just begun"
    assert sender.turn(NOW_US) == 2
    assert sender.turn(NOW_US) == 0
    assert posted == [("b.example", "https://b.example/r")]
    sent = [
        row
        for (topic, _), rows in queue.storage.records.items()
        for row in rows
        if topic == "email.send.bulk"
    ]
    assert len(sent) == 1
    assert b"r@a.example" in sent[0][4]


def test_a_post_follows_no_redirect() -> None:
    """Whoever the first server names was named by nobody's DNS."""
    asked: list[str] = []

    class Moved(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            is_good = self.path == "/good"
            self.send_response(201 if is_good else 307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    report = tls_report.built(COUNTS, 19_999, SETTINGS.tls_reports)[0]
    with HTTPServer(("127.0.0.1", 0), Moved) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        tls_report.post(report, f"{place}/good")
        with pytest.raises(OSError, match="307"):
            tls_report.post(report, f"{place}/moved")
        server.shutdown()
    assert asked == ["/good", "/moved"]
