"""``postalynk dlq``: what could not be processed, and why."""

from datetime import UTC, datetime

from cyclopts import App

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, table
from postalynk.service.operations import ask

dlq = App(name="dlq", help="Dead letters: records that could not be processed.")
app.command(dlq)


@dlq.command
def ls(*, common: Common = COMMON) -> None:
    """Dead letters with their reasons, oldest first."""
    rows = ask(common.settings(), "dead_letters")
    if common.json:
        emit_json(rows)
        return
    shown = [
        {**row, "at": datetime.fromtimestamp(row["at_us"] / 1e6, UTC).isoformat("T", "seconds")}
        for row in rows
    ]
    table(
        shown,
        ["at", "topic", "partition", "offset", "reason", "detail"],
        empty="No dead letters.",
    )
