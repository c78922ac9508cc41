"""`domain check`: what DNS says beside what is signed, on a zone that is a dictionary."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from postalynk.control.bulk_rules import Finding
from postalynk.control.domains import DnsRecord, DomainSetup, KeyShown
from postalynk.control.preflight import Sender, Unanswered, examine
from postalynk.control.sts import NoPolicy, StsPolicy

RSA = "v=DKIM1; k=rsa; p=QUJD"
SPF = "v=spf1 ip4:192.0.3.7 ~all"
SETUP = DomainSetup(
    "mail.example.com",
    "org_1",
    ["pl1"],
    [
        DnsRecord("pl1._domainkey.mail.example.com", "TXT", RSA),
        DnsRecord("mail.example.com", "TXT", SPF),
    ],
    [],
    [KeyShown("pl1", "rsa", RSA, "signing", 1)],
)
SENDERS = [Sender("192.0.3.7", "out.example.com")]
GOOD = {
    ("TXT", "pl1._domainkey.mail.example.com"): ["v=DKIM1; k=rsa; p=QU JD"],
    ("TXT", "mail.example.com"): ["unrelated", SPF],
    ("TXT", "_dmarc.mail.example.com"): ["v=DMARC1; p=none; rua=mailto:d@example.com"],
    ("TXT", "_mta-sts.mail.example.com"): ["v=STSv1; id=1"],
    ("TXT", "_smtp._tls.mail.example.com"): ["v=TLSRPTv1; rua=mailto:t@example.com"],
    ("MX", "mail.example.com"): ["mx.example.com"],
    ("PTR", "192.0.3.7"): ["out.example.com"],
    ("A", "out.example.com"): ["192.0.3.7"],
}


class Zone:
    def __init__(self, changes: dict[tuple[str, str], list[str]]) -> None:
        self.records = GOOD | changes

    def _get(self, kind: str, name: str) -> list[str]:
        found = self.records.get((kind, name), [])
        if found == ["SERVFAIL"]:
            raise Unanswered(f"no answer for {kind} {name}")
        return found

    def texts(self, name: str) -> list[str]:
        return self._get("TXT", name)

    def addresses(self, name: str) -> list[str]:
        return self._get("A", name)

    def exchanges(self, name: str) -> list[str]:
        return self._get("MX", name)

    def names(self, address: str) -> list[str]:
        return self._get("PTR", address)


def check(
    changes: dict[tuple[str, str], list[str]], senders: Sequence[Sender] = SENDERS
) -> dict[str, Finding]:
    return {f.check: f for f in examine(SETUP, senders, Zone(changes), fetch)}


def fetch(domain: str, hosts: Sequence[str]) -> StsPolicy:
    """A policy that names what is called ``mx``, enforced unless the domain says otherwise."""
    if hosts == ["silent.example.com"]:
        raise NoPolicy("status 404")
    unnamed = [host for host in hosts if not host.startswith("mx")]
    mode = {"try.example.com": "testing", "mx.none.example.com": "none"}.get(hosts[0], "enforce")
    return StsPolicy(mode, 604_800, unnamed)


def test_a_domain_in_order_has_nothing_wrong() -> None:
    found = check({})
    assert {f.verdict for f in found.values()} == {"ok"}
    assert set(found) == {
        "dkim pl1",
        "spf",
        "dmarc",
        "dmarc alignment",
        "ptr 192.0.3.7",
        "return path",
        "mta-sts",
        "tls-rpt",
        "rules of google",
        "rules of yahoo",
        "rules of microsoft",
    }
    required = {name for name, f in found.items() if f.required_by}
    assert required == {"dkim pl1", "spf", "dmarc", "dmarc alignment", "ptr 192.0.3.7"}


DKIM_NAME = ("TXT", "pl1._domainkey.mail.example.com")
SPF_NAME = ("TXT", "mail.example.com")
DMARC_NAME = ("TXT", "_dmarc.mail.example.com")
MX_NAME = ("MX", "mail.example.com")
PARENT = ("TXT", "_dmarc.example.com")


@pytest.mark.parametrize(
    ("changes", "name", "verdict", "detail"),
    [
        ({DKIM_NAME: []}, "dkim pl1", "wrong", "is not published"),
        ({DKIM_NAME: ["v=DKIM1; p=eHl6"]}, "dkim pl1", "wrong", "not the one that signs"),
        ({DKIM_NAME: ["v=DKIM1; p="]}, "dkim pl1", "wrong", "not the one that signs"),
        ({DKIM_NAME: [RSA, RSA]}, "dkim pl1", "wrong", "2 records"),
        ({DKIM_NAME: ["SERVFAIL"]}, "dkim", "wrong", "no answer"),
        ({SPF_NAME: []}, "spf", "wrong", "is not published"),
        ({SPF_NAME: [SPF, SPF]}, "spf", "wrong", "2 records"),
        ({SPF_NAME: ["v=spf1 ip4:192.0.3.8 ~all"]}, "spf", "wrong", "softfail for 192.0.3.7"),
        ({SPF_NAME: ["v=spf1 -ip4:192.0.3.0/24 +all"]}, "spf", "wrong", "fail for"),
        ({SPF_NAME: ["v=spf1 mx -all"]}, "spf", "wrong", "fail for"),
        (
            {SPF_NAME: ["v=spf1 mx/24 -all"], ("A", "mx.example.com"): ["192.0.3.200"]},
            "spf",
            "ok",
            "pass",
        ),
        ({SPF_NAME: ["v=spf1 a:out.example.com -all"]}, "spf", "ok", "pass"),
        ({SPF_NAME: ["v=spf1 redirect=s.example.com"]}, "spf", "wrong", "permerror"),
        (
            {SPF_NAME: ["v=spf1 include:s.example.com -all"], ("TXT", "s.example.com"): [SPF]},
            "spf",
            "ok",
            "pass",
        ),
        ({SPF_NAME: ["v=spf1 include:mail.example.com -all"]}, "spf", "wrong", "permerror"),
        ({DMARC_NAME: []}, "dmarc", "wrong", "is not published"),
        ({DMARC_NAME: ["v=DMARC1; rua=mailto:a@b.c"]}, "dmarc", "wrong", "has no p="),
        ({DMARC_NAME: [], PARENT: ["v=DMARC1; p=none; sp=reject"]}, "dmarc", "ok", "reject"),
        ({DMARC_NAME: ["v=DMARC1; p=none"]}, "dmarc reports", "note", "nobody receives"),
        ({("PTR", "192.0.3.7"): []}, "ptr 192.0.3.7", "wrong", "has no name"),
        ({("A", "out.example.com"): ["192.0.3.9"]}, "ptr 192.0.3.7", "wrong", "lead back"),
        ({("MX", "mail.example.com"): ["."]}, "return path", "wrong", "takes no mail"),
        ({("TXT", "_mta-sts.mail.example.com"): []}, "mta-sts", "note", "not published"),
        ({MX_NAME: ["mx.example.com"]}, "mta-sts", "ok", "enforce, kept for 7 days"),
        ({MX_NAME: ["mx.none.example.com"]}, "mta-sts", "ok", "is none"),
        ({MX_NAME: ["mx.example.com", "b.example.com"]}, "mta-sts", "wrong", "not name b.example"),
        ({MX_NAME: ["try.example.com"]}, "mta-sts", "note", "report it and deliver"),
        ({MX_NAME: ["silent.example.com"]}, "mta-sts", "note", "cannot get the policy: status 404"),
        ({("TXT", "_smtp._tls.mail.example.com"): []}, "tls-rpt", "note", "not published"),
    ],
)
def test_each_flaw_is_named(
    changes: dict[tuple[str, str], list[str]], name: str, verdict: str, detail: str
) -> None:
    finding = check(changes)[name]
    assert finding.verdict == verdict
    assert detail in finding.detail
    assert finding.verdict == "ok" or finding.fix


def test_one_unanswered_question_does_not_hide_the_others() -> None:
    found = check({SPF_NAME: ["SERVFAIL"]})
    assert found["spf"].verdict == "wrong"
    assert found["dkim pl1"].verdict == "ok"
    assert found["tls-rpt"].verdict == "ok"


def test_sources_without_an_address_are_said_to_be_unknown() -> None:
    found = check({}, [Sender("", "")])
    assert found["spf"].verdict == "note"
    assert not any(name.startswith("ptr") for name in found)


def test_a_name_that_differs_from_ehlo_is_noted() -> None:
    found = check({}, [Sender("192.0.3.7", "other.example.com")])
    assert found["ptr 192.0.3.7"].verdict == "note"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({DKIM_NAME: []}, "ok"),
        ({SPF_NAME: []}, "ok"),
        ({DKIM_NAME: [], SPF_NAME: []}, "wrong"),
    ],
)
def test_dmarc_needs_one_of_dkim_and_spf(
    changes: dict[tuple[str, str], list[str]], verdict: str
) -> None:
    assert check(changes)["dmarc alignment"].verdict == verdict


def test_each_provider_says_what_it_would_refuse_for() -> None:
    found = check(
        {DKIM_NAME: [], SPF_NAME: ["SERVFAIL"], ("TXT", "_smtp._tls.mail.example.com"): []}
    )
    for provider in ("google", "yahoo", "microsoft"):
        finding = found[f"rules of {provider}"]
        assert finding.verdict == "wrong"
        assert "for want of dkim pl1, spf, dmarc alignment; beyond DNS" in finding.detail
    for provider in ("google", "yahoo", "microsoft"):
        finding = check({})[f"rules of {provider}"]
        assert finding.verdict == "ok"
        assert "unsubscribe" in finding.detail


NEW = "v=DKIM1; k=rsa; p=REVG"
NEW_NAME = ("TXT", "pl3._domainkey.mail.example.com")


@pytest.mark.parametrize(
    ("state", "texts", "verdict", "detail"),
    [
        ("waiting", [], "note", "waits to be published"),
        ("waiting", ["v=DKIM1; p=eHl6"], "note", "waits to be published"),
        ("waiting", [NEW], "ok", "will sign"),
        ("retiring", [NEW], "ok", "serves mail under way"),
        ("retiring", [], "wrong", "its record is gone"),
        ("retired", [NEW], "note", "no longer needed"),
        ("retired", [], None, ""),
    ],
)
def test_a_key_that_changes_says_where_it_stands(
    state: Any, texts: list[str], verdict: str | None, detail: str
) -> None:
    keys = [*SETUP.keys, KeyShown("pl3", "rsa", NEW, state, 1)]
    setup = msgspec.structs.replace(SETUP, keys=keys)
    found = {f.check: f for f in examine(setup, SENDERS, Zone({NEW_NAME: texts}), fetch)}
    assert found["rules of google"].verdict == "ok"
    if verdict is None:
        assert "dkim pl3" not in found
    else:
        assert found["dkim pl3"].verdict == verdict
        assert detail in found["dkim pl3"].detail
