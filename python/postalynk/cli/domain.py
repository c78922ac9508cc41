"""``postalynk domain``: sender domains, their DKIM keys and DNS records."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.control.domains import DomainSetup
from postalynk.control.preflight import Sender, examine
from postalynk.control.resolver import Resolver
from postalynk.errors import ControlError
from postalynk.service.operations import ask

domain = App(name="domain", help="Sender domains, their DKIM keys and DNS records.")
app.command(domain)


@domain.command
def add(
    name: Annotated[str, Parameter(name="DOMAIN")],
    *,
    org: str,
    key: Path | None = None,
    common: Common = COMMON,
) -> None:
    """Let an organization send from a domain; prints the DNS records to publish.

    Parameters
    ----------
    org
        The organization, org_…
    key
        A PEM file with an RSA private key to sign with; made here when absent.
    """
    try:
        pem = key.read_text() if key else None
    except (OSError, UnicodeDecodeError) as error:
        raise ControlError(f"--key {key}: {error}", fix="name a PEM file") from error
    made = ask(common.settings(), "add_domain", domain=name, org=org, rsa_key_pem=pem)
    if common.json:
        emit_json(made)
        return
    out.print(f"[bold]{made['domain']}[/] may send for {made['org']}. Publish in its DNS:")
    for record in made["records"]:
        out.print(f"\n{record['name']}  {record['type']}\n  {record['value']}", markup=False)
    for note in made["notes"]:
        out.print(f"\nnote: {note}", markup=False)


@domain.command(name="list")
def list_(*, org: str | None = None, common: Common = COMMON) -> None:
    """Domains, of one organization or of all."""
    rows = ask(common.settings(), "list_domains", org=org)
    if common.json:
        emit_json(rows)
    else:
        table(
            rows,
            ["domain", "org", "selectors"],
            empty="No domain yet: postalynk domain add DOMAIN --org ORG",
        )


@domain.command
def check(name: Annotated[str, Parameter(name="DOMAIN")], *, common: Common = COMMON) -> int:
    """Compare DNS with what is signed and sent; exit status 1 if mail would suffer.

    Asks `[dns] servers` for DKIM, SPF, DMARC, PTR, MX, MTA-STS and TLS-RPT, and says which of them
    Google, Yahoo and Microsoft require of bulk senders.
    """
    settings = common.settings()
    known = ask(settings, "domain_setup", domain=name)
    setup = msgspec.convert(known["setup"], DomainSetup)
    senders = msgspec.convert(known["senders"], list[Sender])
    findings = list(examine(setup, senders, Resolver(settings.dns.servers)))
    if common.json:
        emit_json({"domain": setup.domain, "findings": msgspec.to_builtins(findings)})
    # A record to publish is longer than a column of a table.
    for finding in () if common.json else findings:
        asked = f" [{', '.join(finding.required_by)}]" if finding.required_by else ""
        line = f"{finding.verdict:<5}  {finding.check}: {finding.detail}{asked}"
        out.print(line, markup=False)
        if finding.fix:
            out.print(f"       fix: {finding.fix}", markup=False)
    return 1 if any(finding.verdict == "wrong" for finding in findings) else 0
