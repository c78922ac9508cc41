"""How a replay is shown: on the terminal, and as a page one can send to a colleague."""

from datetime import UTC, datetime
from html import escape
from typing import Any

from postalynk.cli.render import out, table

COLUMNS = ("site", "lane", "before", "after", "what", "deliveries", "share", "samples")

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:3em auto;max-width:70em;color:#1a2b49}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4em .8em;"
    "border-bottom:1px solid #d8dfeb}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "code{font-size:.85em}"
)


def share(text: str) -> float:
    """A share from 0 to 1 of ``2%`` or ``0.02``; raises ValueError."""
    number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise ValueError(f"{text!r} is no share; write 2% or 0.02")
    return number


EXCEEDED = ("pool", "site", "source", "limit", "minutes", "first", "worst", "wait")


def exceeded(replayed: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of the second table: which limits would be exceeded, and when (UTC)."""
    return [
        {
            **{name: str(row[name]) for name in ("pool", "site", "source", "minutes")},
            "limit": f"{row['rate_per_s']:g}/s",
            "first": _moment(row["first_us"]),
            "worst": _moment(row["worst_us"]),
            "wait": f"{row['worst_wait_s']:g} s",
        }
        for row in replayed["exceeded"]
    ]


def limits(replayed: dict[str, Any]) -> str:
    """The sentence above it."""
    count, before = (len(replayed[name]) for name in ("exceeded", "exceeded_before"))
    if not count:
        return f"No limit of a path would be exceeded ({before} before)."
    return f"Limits of {count} paths would be exceeded ({before} before): mail would wait."


def cost(replayed: dict[str, Any]) -> str:
    """How long a decision takes."""
    spent = replayed["decision_us"]
    return f"A decision takes {spent['candidate']} µs, {spent['baseline']} µs before."


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def summary(replayed: dict[str, Any]) -> str:
    """The sentence above the table."""
    failures = f"{replayed['failures_before']} before, {replayed['failures_after']} after"
    return (
        f"{replayed['changed']} of {replayed['deliveries']} deliveries change "
        f"({replayed['share']:.2%}), policy {replayed['baseline']} → {replayed['candidate']}; "
        f"failures of the policy: {failures}."
    )


def show(replayed: dict[str, Any]) -> None:
    """On the terminal."""
    rows = [{**change, "share": f"{change['share']:.2%}"} for change in replayed["changes"]]
    if rows:
        table(rows, COLUMNS, empty="")
    out.print(summary(replayed), markup=False)
    if rows := exceeded(replayed):
        table(rows, EXCEEDED, empty="")
    out.print(limits(replayed), markup=False)
    out.print(cost(replayed), markup=False)


def page(replayed: dict[str, Any]) -> str:
    """As HTML that needs nothing else."""
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "\n".join(_row(change) for change in replayed["changes"])
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Policy replay</title>\n'
        f"<style>{_STYLE}</style>\n<h1>Policy replay</h1>\n<p>{escape(summary(replayed))}</p>\n"
        f"<table>\n<tr>{head}</tr>\n{rows}\n</table>\n{_limits_table(replayed)}"
        f"<p>{escape(cost(replayed))}</p>\n</html>\n"
    )


def _limits_table(replayed: dict[str, Any]) -> str:
    found = exceeded(replayed)
    if not found:
        return f"<p>{escape(limits(replayed))}</p>\n"
    head = "".join(f"<th>{column}</th>" for column in EXCEEDED)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(row[column])}</td>" for column in EXCEEDED) + "</tr>"
        for row in found
    )
    text = escape(limits(replayed))
    return f"<p>{text}</p>\n<table>\n<tr>{head}</tr>\n{rows}\n</table>\n"


def _row(change: dict[str, Any]) -> str:
    texts = [f"<td>{escape(change[name])}</td>" for name in COLUMNS[:5]]
    samples = "<br>".join(f"<code>{escape(sample)}</code>" for sample in change["samples"])
    numbers = f'<td class="n">{change["deliveries"]}</td><td class="n">{change["share"]:.2%}</td>'
    return f"<tr>{''.join(texts)}{numbers}<td>{samples}</td></tr>"
