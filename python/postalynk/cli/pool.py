"""``postalynk pool``: egress sources and the pools that group them."""

from typing import Annotated

from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.service.operations import ask

pool = App(name="pool", help="Egress sources and the pools that group them.")
app.command(pool)


@pool.command(name="list")
def list_(*, common: Common = COMMON) -> None:
    """Pools with their weighted sources."""
    rows = ask(common.settings(), "list_pools")
    if common.json:
        emit_json(rows)
    else:
        shown = [
            {**row, "sources": [f"{name}×{weight}" for name, weight in row["sources"].items()]}
            for row in rows
        ]
        table(shown, ["name", "sources"], empty="No pool.")


@pool.command(name="set")
def set_(
    name: Annotated[str, Parameter(name="POOL")],
    *sources: str,
    common: Common = COMMON,
) -> None:
    """Make or replace a pool: ``postalynk pool set bulk mta1=3 mta2``."""
    weights = {}
    for source in sources:
        key, _, weight = source.partition("=")
        weights[key] = int(weight) if weight.isdigit() else 1
    made = ask(common.settings(), "set_pool", name=name, sources=weights)
    emit_json(made) if common.json else out.print(f"pool {name} is set")


@pool.command
def source(
    name: Annotated[str, Parameter(name="SOURCE")],
    *,
    ip: str = "",
    ehlo: str = "",
    relay: str = "",
    common: Common = COMMON,
) -> None:
    """Make or replace an egress source.

    Parameters
    ----------
    ip
        Local address to send from; empty: the system chooses.
    ehlo
        The name it greets with; it should be the PTR of the address.
    relay
        The machine it leaves by: socks5://[user:password@]host[:port], or proxy2://host:port for
        one that takes the PROXY protocol and is told the source's address.
    """
    made = ask(common.settings(), "set_source", name=name, ip=ip, ehlo=ehlo, relay=relay)
    emit_json(made) if common.json else out.print(f"source {name} is set")


@pool.command
def sources(*, common: Common = COMMON) -> None:
    """Egress sources, and the relays they leave by."""
    rows = ask(common.settings(), "list_sources")
    if common.json:
        emit_json(rows)
    else:
        table(rows, ["name", "ip", "ehlo", "relay"], empty="No source.")
