"""``postalynk domain``: sender domains, their DKIM keys and DNS records."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.control.domains import DomainSetup
from postalynk.control.preflight import Sender, examine
from postalynk.control.resolver import Resolver
from postalynk.control.sts import fetcher
from postalynk.errors import ControlError
from postalynk.service.operations import ask
from postalynk.service.rotation import look

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
    made = ask(common.settings(), "add_domain", domain=name, org=org, rsa_key_pem=_pem(key))
    if common.json:
        emit_json(made)
        return
    out.print(f"[bold]{made['domain']}[/] may send for {made['org']}. Publish in its DNS:")
    _show_records(made)


@domain.command
def rotate(
    name: Annotated[str, Parameter(name="DOMAIN")],
    *,
    org: str,
    key: Path | None = None,
    common: Common = COMMON,
) -> None:
    """Change the signing keys of a domain; prints the DNS records to publish.

    The present keys sign until DNS shows the new ones. `domain check` says where it stands.

    Parameters
    ----------
    org
        The organization, org_…
    key
        A PEM file with a private key to sign with; made here when absent.
    """
    made = ask(common.settings(), "rotate_domain", domain=name, org=org, rsa_key_pem=_pem(key))
    if common.json:
        emit_json(made)
        return
    out.print(f"New keys of [bold]{made['domain']}[/] wait. Publish in its DNS, and keep the old:")
    _show_records(made)


@domain.command
def show(name: Annotated[str, Parameter(name="DOMAIN")], *, common: Common = COMMON) -> None:
    """The signing keys of a domain, their states and the DNS records to publish."""
    setup = ask(common.settings(), "show_domain", domain=name)
    if common.json:
        emit_json(setup)
        return
    out.print(f"[bold]{setup['domain']}[/] sends for {setup['org']}.\n")
    rows = [
        {
            "selector": key["selector"],
            "algorithm": key["algorithm"],
            "state": key["state"],
            "since": _moment(key["since_us"]),
            "in DNS since": _moment(key["shown_since_us"]),
        }
        for key in setup["keys"]
    ]
    table(rows, ["selector", "algorithm", "state", "since", "in DNS since"], empty="No key.")
    _show_records(setup)


def _pem(key: Path | None) -> str | None:
    try:
        return key.read_text() if key else None
    except (OSError, UnicodeDecodeError) as error:
        raise ControlError(f"--key {key}: {error}", fix="name a PEM file") from error


def _show_records(setup: dict[str, Any]) -> None:
    for record in setup["records"]:
        out.print(f"\n{record['name']}  {record['type']}\n  {record['value']}", markup=False)
    for note in setup["notes"]:
        out.print(f"\nnote: {note}", markup=False)


def _moment(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC" if at_us else ""


@domain.command(name=["list", "ls"])
def list_(*, org: str | None = None, common: Common = COMMON) -> None:
    """Domains, of one organization or of all."""
    rows = ask(common.settings(), "list_domains", org=org)
    if common.json:
        emit_json(rows)
    else:
        table(
            rows,
            ["domain", "org", "selectors", "changing"],
            empty="No domain yet: postalynk domain add DOMAIN --org ORG",
        )


@domain.command
def check(name: Annotated[str, Parameter(name="DOMAIN")], *, common: Common = COMMON) -> int:
    """Compare DNS with what is signed and sent; exit status 1 if mail would suffer.

    Asks `[dns] servers` for DKIM, SPF, DMARC, PTR, MX, MTA-STS and TLS-RPT, fetches the MTA-STS
    policy to hold it against the MX hosts, and says what Google, Yahoo and Microsoft require of
    bulk senders. While keys change, what it sees moves them
    on, as the running process does by itself.
    """
    settings = common.settings()
    resolver = Resolver(settings.dns.servers)
    known = ask(settings, "domain_setup", domain=name)
    setup = msgspec.convert(known["setup"], DomainSetup)
    if any(key.state != "signing" for key in setup.keys):
        shown = look(setup.domain, setup.keys, resolver)
        known = ask(settings, "advance_keys", domain=setup.domain, shown=shown)
        setup = msgspec.convert(known["setup"], DomainSetup)
    senders = msgspec.convert(known["senders"], list[Sender])
    tls = settings.delivery.tls
    ca_file = str(settings.path(tls.ca_file)) if tls.ca_file else ""
    fetch = fetcher(resolver.addresses, ca_file, tls.mta_sts_port)
    findings = list(examine(setup, senders, resolver, fetch))
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
