"""``postalynk trace``: what is being said to receivers, as it is said."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import err, out, printable
from postalynk.errors import NotRunning
from postalynk.service.operations import ask

WAIT_S = 10.0
"""How long one question waits for lines; less than the socket's own limit."""
MOST_SITES = 10
"""Named where what is followed has none of its own."""


@app.command
def trace(*, site: str = "", lines: int = 0, common: Common = COMMON) -> None:
    """Follow live SMTP sessions, until interrupted.

    Content is shown as its size, secrets not at all. Costs nothing while nobody listens. Standard
    error says how many sessions are open and how much waits, at first and when nothing is said; a
    site that is not known yet is followed all the same.

    Parameters
    ----------
    site
        Whose sessions: a site's name, a receiving host's, or the smart host as host:port; all
        when it is left out.
    lines
        End after so many lines; 0: never.
    """
    settings = common.settings()
    # As the engine names hosts and sites.
    site = site.lower().rstrip(".")
    number = ask(settings, "trace_open", site=site)
    shown, told = 0, ""
    try:
        while not lines or shown < lines:
            read = ask(settings, "trace_read", trace=number, limit_s=WAIT_S if told else 0.0)
            if read["lost"]:
                err.print(f"({read['lost']} lines were missed)")
            if not (told and read["lines"]):
                told = tell(standing(ask(settings, "trace_sites"), site), told)
            rest = read["lines"][: lines - shown] if lines else read["lines"]
            for line in rest:
                show(line, as_json=common.json)
            shown += len(rest)
    finally:
        # Whatever ended this is what is to be said, not that the trace has ended with the process.
        with suppress(NotRunning):
            ask(settings, "trace_close", trace=number)


def tell(now: str, told: str) -> str:
    """Say how things stand, unless that is what was said last."""
    if now != told:
        err.print(f"({printable(now)})", markup=False, soft_wrap=True)
    return now


def standing(sites: dict[str, dict[str, Any]], site: str) -> str:
    """One line about what is followed, and where there is something to follow if not here."""

    def is_followed(name: str) -> bool:
        return site in {"", name, *sites[name]["hosts"]}

    def count(name: str) -> int:
        return int(sites[name]["connections"])

    followed = [name for name in sites if is_followed(name)]
    waiting = sum(sites[name]["waiting"] for name in followed)
    open_now = sum(map(count, followed))
    line = f"{site or 'all sites'}: sessions open: {open_now}, deliveries waiting: {waiting}"
    elsewhere = sorted(filter(count, sites), key=lambda name: (-count(name), name))
    if followed or not site:
        return line
    shown = ", ".join(elsewhere[:MOST_SITES]) or "none"
    more = f" and {len(elsewhere) - MOST_SITES} more" if len(elsewhere) > MOST_SITES else ""
    return f"{line}; no mail is on its way there. Sites with open sessions: {shown}{more}"


def show(line: dict[str, Any], *, as_json: bool) -> None:
    """One line: JSON, or the time, the session and what was said."""
    if as_json:
        out.file.write(msgspec.json.encode(line).decode() + "\n")
        out.file.flush()
        return
    at = datetime.fromtimestamp(line["at_us"] / 1e6, UTC)
    where = f"{at:%H:%M:%S.%f} #{line['session']} {line['source']}→{line['mx']}"
    out.print(printable(f"{where}  {line['text']}"), markup=False, soft_wrap=True)
