"""``postalynk domain``: sender domains, their DKIM keys and DNS records."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
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
