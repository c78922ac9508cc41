"""Preflight of a sender domain: what DNS says beside what is signed and sent.

**Model.** `examine` is given the records the domain should have, the sources mail leaves from, a
`Lookup` and what fetches an MTA-STS policy; it yields one `Finding` per thing looked at, each with
the providers that ask for it of bulk senders, and at the end one per provider
(`postalynk.control.bulk_rules`).

**Not here.** One-click unsubscribe (RFC 8058) and complaint rates, which belong to messages.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from postalynk.control import sts
from postalynk.control.border import is_shown
from postalynk.control.bulk_rules import BULK, Finding, Verdict, alignment, providers
from postalynk.control.domains import DomainSetup, KeyShown
from postalynk.control.rotation import shown_name
from postalynk.control.spf import Spf


class Unanswered(Exception):
    """No resolver gave an answer, neither yes nor no."""


class Lookup(Protocol):
    """Questions to DNS; each answers with an empty list where there is nothing.

    All raise Unanswered when no server answers.
    """

    def texts(self, name: str) -> list[str]:
        """TXT records, their strings joined."""

    def addresses(self, name: str) -> list[str]:
        """A and AAAA records."""

    def exchanges(self, name: str) -> list[str]:
        """Hosts of the MX records."""

    def names(self, address: str) -> list[str]:
        """PTR records of an IP address."""


class Sender(msgspec.Struct, frozen=True):
    """An address mail leaves from (empty: the system chooses) and the name it greets with."""

    ip: str
    ehlo: str


class _Facts(msgspec.Struct, frozen=True):
    """What every check is given."""

    setup: DomainSetup
    senders: Sequence[Sender]
    lookup: Lookup
    fetch: sts.Fetch


def examine(
    setup: DomainSetup, senders: Sequence[Sender], lookup: Lookup, fetch: sts.Fetch
) -> Iterator[Finding]:
    """All findings of a domain, the required ones first, the providers' rules last."""
    facts = _Facts(setup, senders, lookup, fetch)
    found: list[Finding] = []
    for check in (_dkim, _spf, _dmarc, _ptr, _return_path, _mta_sts, _tls_rpt):
        try:
            found.extend(check(facts))
        except Unanswered as error:
            name = check.__name__.strip("_").replace("_", "-")
            asked_by = BULK if check in (_dkim, _spf, _dmarc, _ptr) else ()
            fix = "look at [dns] servers, or ask again later"
            found.append(Finding(name, "wrong", str(error), fix, asked_by))
    found.extend(alignment(found))
    yield from found
    yield from providers(found)


def tags(record: str) -> dict[str, str]:
    """The ``name=value`` list of a DKIM, DMARC, STS or TLS-RPT record (RFC 6376 section 3.2)."""
    pairs = (part.partition("=") for part in record.split(";") if "=" in part)
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}


def _dkim(facts: _Facts) -> Iterator[Finding]:
    if not facts.setup.selectors:
        fix = "remove the domain and add it again"
        yield Finding("dkim", "wrong", "the domain has no key, so nothing is signed", fix, BULK)
    for key in facts.setup.keys:
        name = shown_name(facts.setup.domain, key.selector)
        texts = facts.lookup.texts(name)
        if key.state == "signing":
            yield _signing(key, name, texts)
        elif key.state == "waiting":
            yield _waiting(key, name, texts)
        elif key.state == "retiring":
            yield _retiring(key, name, texts)
        elif texts:
            detail = "its key is destroyed, its record is no longer needed"
            yield Finding(f"dkim {key.selector}", "note", detail, f"remove {name}")


def _signing(key: KeyShown, name: str, texts: list[str]) -> Finding:
    check, fix = f"dkim {key.selector}", f"publish at {name}: {key.record}"
    # Google, Yahoo and Microsoft verify RSA only.
    asked_by = BULK if key.algorithm == "rsa" else ()
    if not texts:
        return Finding(check, "wrong", "is not published", fix, asked_by)
    if len(texts) > 1:
        return Finding(check, "wrong", f"{len(texts)} records where one must be", fix, asked_by)
    if not is_shown(key.record, texts):
        return Finding(check, "wrong", "the published key is not the one that signs", fix, asked_by)
    return Finding(check, "ok", "is the key that signs", "", asked_by)


def _waiting(key: KeyShown, name: str, texts: list[str]) -> Finding:
    check = f"dkim {key.selector}"
    if is_shown(key.record, texts):
        return Finding(check, "ok", "is published, and will sign once it has been so for a while")
    fix = f"publish at {name}: {key.record}"
    return Finding(check, "note", "waits to be published; the present keys sign", fix)


def _retiring(key: KeyShown, name: str, texts: list[str]) -> Finding:
    check = f"dkim {key.selector}"
    if is_shown(key.record, texts):
        return Finding(check, "ok", "signs no more; its record serves mail under way")
    detail = "its record is gone, and mail signed with it is under way"
    return Finding(check, "wrong", detail, f"publish again at {name}: {key.record}")


def _spf(facts: _Facts) -> Iterator[Finding]:
    wanted = next(r.value for r in facts.setup.records if r.value.startswith("v=spf1"))
    spf = Spf(facts.lookup.texts, facts.lookup.addresses, facts.lookup.exchanges)
    error = spf.error(facts.setup.domain)
    if error:
        yield Finding("spf", "wrong", error, f"publish at {facts.setup.domain}: {wanted}", BULK)
        return
    known = [s.ip for s in facts.senders if s.ip]
    if not known:
        detail = "is published; the sources have no address of their own to compare with"
        yield Finding("spf", "note", detail, "give the sources their addresses", BULK)
    for ip in known:
        result = spf.check(facts.setup.domain, ip)
        verdict: Verdict = "ok" if result == "pass" else "wrong"
        fix = "" if verdict == "ok" else f"add ip{ipaddress.ip_address(ip).version}:{ip}"
        yield Finding("spf", verdict, f"{result} for {ip}", fix, BULK)


def _dmarc(facts: _Facts) -> Iterator[Finding]:
    labels = facts.setup.domain.split(".")
    fix = f"publish at _dmarc.{facts.setup.domain}: v=DMARC1; p=none"
    # A subdomain is covered by the record of a domain above it; one label is nobody's domain.
    for start in range(len(labels) - 1):
        name = "_dmarc." + ".".join(labels[start:])
        found = [t for t in facts.lookup.texts(name) if t.replace(" ", "").startswith("v=DMARC1")]
        if len(found) > 1:
            yield Finding("dmarc", "wrong", f"{len(found)} records at {name}", fix, BULK)
            return
        if found:
            policy = tags(found[0]).get("sp" if start else "p") or tags(found[0]).get("p")
            if policy not in {"none", "quarantine", "reject"}:
                yield Finding("dmarc", "wrong", f"the record at {name} has no p=", fix, BULK)
                return
            yield Finding("dmarc", "ok", f"policy {policy}, from {name}", "", BULK)
            if "rua" not in tags(found[0]):
                detail = "nobody receives the reports of receivers"
                yield Finding("dmarc reports", "note", detail, f"add rua=mailto:… at {name}")
            return
    yield Finding("dmarc", "wrong", "is not published", fix, BULK)


def _ptr(facts: _Facts) -> Iterator[Finding]:
    for sender in facts.senders:
        if not sender.ip or ipaddress.ip_address(sender.ip).is_private:
            continue
        check, ip = f"ptr {sender.ip}", ipaddress.ip_address(sender.ip)
        names = facts.lookup.names(sender.ip)
        back = [n for n in names if ip in map(ipaddress.ip_address, facts.lookup.addresses(n))]
        if not names:
            fix = f"ask whoever gave you the address to point it to {sender.ehlo}"
            yield Finding(check, "wrong", "the address has no name", fix, BULK)
        elif not back:
            fix = f"give {names[0]} the address {sender.ip}"
            yield Finding(check, "wrong", f"{names[0]} does not lead back", fix, BULK)
        elif sender.ehlo.lower() not in back:
            fix = f"greet as {back[0]}, or change the name of the address"
            yield Finding(check, "note", f"is {back[0]}, EHLO says {sender.ehlo}", fix, BULK)
        else:
            yield Finding(check, "ok", f"is {sender.ehlo}, both ways", "", BULK)


def _return_path(facts: _Facts) -> Iterator[Finding]:
    hosts = facts.lookup.exchanges(facts.setup.domain) or facts.lookup.addresses(facts.setup.domain)
    if hosts and hosts != ["."]:
        yield Finding("return path", "ok", f"bounces go to {', '.join(hosts)}")
    else:
        detail = "the domain takes no mail, so bounces are lost and some receivers refuse it"
        yield Finding("return path", "wrong", detail, f"give {facts.setup.domain} an MX record")


def _mta_sts(facts: _Facts) -> Iterator[Finding]:
    name = f"_mta-sts.{facts.setup.domain}"
    found = [t for t in facts.lookup.texts(name) if tags(t).get("v") == "STSv1"]
    if len(found) == 1 and tags(found[0]).get("id"):
        # Without MX records the domain is its own host (RFC 5321 section 5.1).
        hosts = facts.lookup.exchanges(facts.setup.domain) or [facts.setup.domain]
        yield from sts.findings(facts.setup.domain, hosts, facts.fetch)
    else:
        detail = f"{len(found)} valid records at {name}" if found else "is not published"
        fix = "it protects mail to the domain, not from it (RFC 8461)"
        yield Finding("mta-sts", "note", detail, fix)


def _tls_rpt(facts: _Facts) -> Iterator[Finding]:
    name = f"_smtp._tls.{facts.setup.domain}"
    found = [t for t in facts.lookup.texts(name) if tags(t).get("v") == "TLSRPTv1"]
    if len(found) == 1 and tags(found[0]).get("rua"):
        yield Finding("tls-rpt", "ok", f"reports go to {tags(found[0])['rua']}")
    else:
        fix = "it reports on mail to the domain, not from it (RFC 8460)"
        yield Finding("tls-rpt", "note", "is not published", fix)
