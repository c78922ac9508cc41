"""Results on stdout, as JSON or as tables; everything else on stderr."""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Control and format characters (the latter turn the direction of what follows), surrogates.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)
# A pipe has no edge: what a program reads must not be folded in two.
_piped = Console(highlight=False, soft_wrap=True, width=10_000)


def emit_json(result: Any) -> None:
    """One JSON document, indented for people; every program can read it."""
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """A table of the named columns, or the sentence ``empty``."""
    if not rows:
        out.print(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(row.get(column)) for column in columns))
    (out if out.is_terminal else _piped).print(drawn)


def printable(text: str) -> str:
    """The text without what a terminal would obey: replies and subjects come from strangers."""
    return "".join(" " if unicodedata.category(char) in _OBEYED else char for char in text)


def _cell(value: Any) -> Text:
    # Text, not str: in a str, what stands in [brackets] would be taken for markup.
    if value is None:
        return Text("")
    if isinstance(value, list | tuple):
        return Text(printable(", ".join(str(item) for item in value)))
    return Text(printable(str(value)))
