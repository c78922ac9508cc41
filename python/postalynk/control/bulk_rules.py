"""What Google, Yahoo and Microsoft ask of bulk senders: one verdict each over a domain's findings.

Sources: Google's "Email sender guidelines" and Yahoo's "Sender Best Practices", both in force
since February 2024, Microsoft's rules for high-volume senders since May 2025. All three ask, from
about 5,000 messages a day, for SPF and DKIM that pass and for a DMARC record with which one of
them is aligned.

**Not here.** What only the traffic shows; `BEYOND_DNS` names it, so that nobody takes silence for
consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

BULK = ("google", "yahoo", "microsoft")
Verdict = Literal["ok", "note", "wrong"]

BEYOND_DNS = {
    "google": "one-click unsubscribe (RFC 8058), TLS, complaints under 0.1 % and never 0.3 %",
    "yahoo": "one-click unsubscribe (RFC 8058) honoured in two days, complaints under 0.3 %",
    "microsoft": "a working unsubscribe link, From and Reply-To that take mail",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at; `required_by` names providers that refuse bulk mail without it."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""
    required_by: tuple[str, ...] = ()


def alignment(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Whether DMARC passes (RFC 7489 section 3.1), from the findings on DKIM and SPF.

    Mail carries the domain of From in ``d=`` and in the return path, so whichever of the two passes
    is aligned, even where the record says ``adkim=s; aspf=s``.
    """
    required = [f for f in findings if f.required_by]
    signed = any(f.check.startswith("dkim ") and f.verdict == "ok" for f in required)
    sent = [f.verdict for f in required if f.check == "spf"]
    passing = [name for name, is_ok in (("DKIM", signed), ("SPF", set(sent) == {"ok"})) if is_ok]
    if passing:
        detail = f"{' and '.join(passing)} pass for the domain of From, even by strict rules"
        yield Finding("dmarc alignment", "ok", detail, "", BULK)
    else:
        detail = "neither DKIM nor SPF is known to pass for the domain of From"
        yield Finding("dmarc alignment", "wrong", detail, "mend one of them", BULK)


def providers(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding per provider: what keeps bulk mail from it, or that nothing in DNS does."""
    found = list(findings)
    for provider in BULK:
        lacking = [f.check for f in found if f.verdict == "wrong" and provider in f.required_by]
        beyond = f"beyond DNS it asks for {BEYOND_DNS[provider]}"
        if lacking:
            detail = f"refuses bulk mail for want of {', '.join(dict.fromkeys(lacking))}; {beyond}"
            yield Finding(f"rules of {provider}", "wrong", detail, "mend these first")
        else:
            yield Finding(f"rules of {provider}", "ok", f"DNS shows all it asks for; {beyond}")
