"""``postalynk suppression``: the addresses that an organization sends nothing to."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, err, out, table
from postalynk.errors import ControlError
from postalynk.service.operations import ask

suppression = App(name="suppression", help="Addresses that an organization sends nothing to.")
app.command(suppression)

AT_ONCE = 5_000
"""Addresses in one request, so that a long file shows progress and no request takes long."""

Org = Annotated[str, Parameter(name="ORG")]
File = Annotated[
    Path | None,
    Parameter(name="--file", help="More of them, one a line; - for standard input."),
]


@suppression.command
def add(
    org: Org,
    *addresses: str,
    file: File = None,
    reason: str = "by the operator",
    days: float = 0.0,
    common: Common = COMMON,
) -> None:
    """Send these addresses nothing, from now on; mail that waits for them ends, too.

    Parameters
    ----------
    reason
        Why, for whoever asks what became of a message.
    days
        For so long; 0: for good.
    """
    more = {"reason": reason, "for_s": days * 86_400}
    _change("suppress", "suppressed", org, _named(addresses, file), common, **more)


@suppression.command
def lift(org: Org, *addresses: str, file: File = None, common: Common = COMMON) -> None:
    """Let these addresses have mail again; a policy can see how long ago they were suppressed."""
    _change("lift_suppressed", "lifted", org, _named(addresses, file), common)


@suppression.command
def forget(org: Org, *addresses: str, file: File = None, common: Common = COMMON) -> None:
    """Take these addresses off the list as if they had never been on it."""
    _change("forget_suppressed", "forgotten", org, _named(addresses, file), common)


@suppression.command(name="list")
def list_(org: Org, *, limit: int = 1_000, common: Common = COMMON) -> None:
    """The list of an organization, by address.

    Parameters
    ----------
    limit
        So many at most; 0: all.
    """
    rows = ask(common.settings(), "list_suppressed", org=org, limit=limit)
    if common.json:
        emit_json(rows)
        return
    shown = [
        {**row, "since": _day(row["since_us"]), "until": _day(row["until_us"])} for row in rows
    ]
    columns = ["address", "state", "since", "until", "reason"]
    table(shown, columns, empty=f"{org} suppresses nobody.")
    if limit and len(rows) == limit:
        err.print(f"the first {limit}; --limit 0 shows all")


def _named(addresses: tuple[str, ...], file: Path | None) -> list[str]:
    named = list(addresses)
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ControlError(f"cannot read {file}: {error}", fix="give a text file") from error
        named += [line.strip() for line in text.splitlines() if line.strip()]
    if not named:
        raise ControlError("no address is named", fix="name some, or give a --file")
    return named


def _change(
    operation: str, done: str, org: str, named: list[str], common: Common, **more: Any
) -> None:
    settings = common.settings()
    changed: list[Any] = []
    for first in range(0, len(named), AT_ONCE):
        part = named[first : first + AT_ONCE]
        changed += ask(settings, operation, org=org, addresses=part, **more)
        if len(named) > AT_ONCE:
            err.print(f"{first + len(part)} of {len(named)} {done}")
    if common.json:
        emit_json(changed)
    else:
        out.print(f"{len(changed)} {'address' if len(changed) == 1 else 'addresses'} {done}")


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M") if at_us else ""
