"""``postalynk dlq``: what could not be processed, why, and how it goes back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cyclopts import App

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.service.operations import ask

dlq = App(name="dlq", help="Dead letters: records that could not be processed.")
app.command(dlq)


@dlq.command
def ls(*, reason: str | None = None, org: str | None = None, common: Common = COMMON) -> None:
    """Dead letters with their reasons, oldest first.

    Parameters
    ----------
    reason
        Only those with this reason.
    org
        Only those of this organization.
    """
    letters = ask(common.settings(), "dead_letters", reason=reason, org=org)
    if common.json:
        emit_json(letters)
    else:
        _table(letters, "No dead letters.")


@dlq.command
def redrive(
    *,
    reason: str | None = None,
    org: str | None = None,
    yes: bool = False,
    common: Common = COMMON,
) -> None:
    """Put dead letters back where they came from; without --yes it only shows which.

    Parameters
    ----------
    reason
        Only those with this reason.
    org
        Only those of this organization.
    yes
        Do it.
    """
    answer = ask(common.settings(), "redrive", reason=reason, org=org, is_dry_run=not yes)
    if common.json:
        emit_json(answer)
        return
    _table(answer["redriven"], "No dead letter fits.")
    if answer["refused"]:
        out.print(f"{len(answer['refused'])} more cannot go back: their topic keeps them by key")
    if answer["redriven"]:
        count = len(answer["redriven"])
        out.print(f"{count} put back" if yes else f"{count} would be put back: add --yes")


def _table(letters: Sequence[Mapping[str, Any]], empty: str) -> None:
    shown = [
        {**row, "at": datetime.fromtimestamp(row["at_us"] / 1e6, UTC).isoformat("T", "seconds")}
        for row in letters
    ]
    columns = ["at", "topic", "source_partition", "source_offset", "reason", "detail", "message_id"]
    table(shown, columns, empty=empty)
