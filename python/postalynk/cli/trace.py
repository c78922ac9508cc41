"""``postalynk trace``: what is being said to receivers, as it is said."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import err, out, printable
from postalynk.service.operations import ask

WAIT_S = 10.0
"""How long one question waits for lines; less than the socket's own limit."""


@app.command
def trace(*, site: str = "", lines: int = 0, common: Common = COMMON) -> None:
    """Follow live SMTP sessions, until interrupted.

    Content is shown as its size, secrets not at all. Costs nothing while nobody listens.

    Parameters
    ----------
    site
        Whose sessions: a site's name, a receiving host's, or the smart host as host:port; all
        when it is left out.
    lines
        End after so many lines; 0: never.
    """
    settings = common.settings()
    number = ask(settings, "trace_open", site=site)
    shown = 0
    try:
        while not lines or shown < lines:
            read = ask(settings, "trace_read", trace=number, limit_s=WAIT_S)
            if read["lost"]:
                err.print(f"({read['lost']} lines were missed)")
            rest = read["lines"][: lines - shown] if lines else read["lines"]
            for line in rest:
                show(line, as_json=common.json)
            shown += len(rest)
    finally:
        ask(settings, "trace_close", trace=number)


def show(line: dict[str, Any], *, as_json: bool) -> None:
    """One line: JSON, or the time, the session and what was said."""
    if as_json:
        out.file.write(msgspec.json.encode(line).decode() + "\n")
        out.file.flush()
        return
    at = datetime.fromtimestamp(line["at_us"] / 1e6, UTC)
    where = f"{at:%H:%M:%S.%f} #{line['session']} {line['source']}→{line['mx']}"
    out.print(printable(f"{where}  {line['text']}"), markup=False, soft_wrap=True)
