"""``postalynk org``: organizations and their API keys."""

from typing import Annotated

from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.model import InDoubt
from postalynk.service.operations import ask

org = App(name="org", help="Organizations and their API keys.")
app.command(org)


@org.command
def create(
    name: str,
    *,
    plan: str = "standard",
    in_doubt: InDoubt = "retry",
    common: Common = COMMON,
) -> None:
    """Create an organization and its first API key, which is shown this once.

    Parameters
    ----------
    name
        What people call it.
    plan
        A word your policy can read as msg.org.plan.
    in_doubt
        What to do with an attempt whose end nobody knows: retry, hold or assume_delivered.
    """
    made = ask(common.settings(), "create_organization", name=name, plan=plan, in_doubt=in_doubt)
    if common.json:
        emit_json(made)
        return
    out.print(f"organization  {made['org']}\nAPI key       {made['api_key']}   (shown only now)")


@org.command
def update(
    org_id: Annotated[str, Parameter(name="ORG")], *, salt: int, common: Common = COMMON
) -> None:
    """Change an organization.

    Parameters
    ----------
    salt
        Over how many slots, so partitions and workers, its mail is spread from now on. Its messages
        are in order per recipient then. 1: not spread.
    """
    changed = ask(common.settings(), "update_organization", org=org_id, salt=salt)
    if common.json:
        emit_json(changed)
    else:
        out.print(f"organization  {changed['org']}\nsalt          {changed['salt']}")


@org.command(name="list")
def list_(*, common: Common = COMMON) -> None:
    """All organizations."""
    rows = ask(common.settings(), "list_organizations")
    if common.json:
        emit_json(rows)
    else:
        table(
            rows,
            ["org", "name", "plan", "in_doubt", "salt", "keys", "domains"],
            empty="No organization yet: postalynk org create NAME",
        )


@org.command
def key(org_id: Annotated[str, Parameter(name="ORG")], *, common: Common = COMMON) -> None:
    """Make another API key for an organization."""
    made = ask(common.settings(), "create_key", org=org_id)
    if common.json:
        emit_json(made)
    else:
        out.print(f"API key  {made['api_key']}   (shown only now)")
