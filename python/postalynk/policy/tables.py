"""`table`: facts a policy looks up, kept in a file beside the code.

**Problem.** Who is a VIP changes more often than the code does, and a hook must do no I/O.
**Model.** ``VIP = table("vip", "vip.toml")`` is read while the policy is loaded, from the bytes
that were hashed; afterwards it is a frozen mapping. A change of the file is a new version.
**Formats.** In TOML and JSON, ``name`` is a top-level key: an object, or a list, whose members
are then the keys. A CSV file is one table: a head line, then the key in the first column; with two
columns the value is the second, with more an object by the head's names.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tomllib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postalynk.policy.freeze import frozen

if TYPE_CHECKING:
    from postalynk.policy.bundle import Bundle

_SERVED: ContextVar[Bundle | None] = ContextVar("served", default=None)


class Table(Mapping[str, Any]):
    """A read-only mapping that knows its name: ``VIP[msg.org.id]``; made by `table`."""

    __slots__ = ("_rows", "name")

    def __init__(self, name: str, rows: Mapping[str, Any]) -> None:
        self.name = name
        self._rows = {key: frozen(value) for key, value in rows.items()}

    def __getitem__(self, key: str) -> Any:
        return self._rows[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"table({self.name!r}, {len(self._rows)} rows)"


def table(name: str, file: str) -> Table:
    """The table ``name`` of ``file``: ``if msg.org.id in VIP: …``, ``VIP.get(msg.org.id, "std")``.

    To be called while the module is loaded, not in a hook. Keys are texts, compared exactly.
    Raises ValueError when the file is not part of the policy or holds no such table.
    """
    bundle = _SERVED.get()
    if bundle is None:
        # A test imported the file itself: the table lies beside it all the same.
        path = Path(sys._getframe(1).f_globals.get("__file__", "")).parent / file  # noqa: SLF001
        found = path.read_bytes() if path.is_file() else None
    else:
        found = bundle.content.get(file)
    if found is None or file.endswith(".py"):
        raise ValueError(f"the policy has no table file {file!r}; put it beside the code")
    return Table(name, _rows(name, file, found))


@contextmanager
def serving(bundle: Bundle) -> Generator[None]:
    """Let `table` read from this bundle meanwhile."""
    token = _SERVED.set(bundle)
    try:
        yield
    finally:
        _SERVED.reset(token)


def _rows(name: str, file: str, content: bytes) -> Mapping[str, Any]:
    try:
        text = content.decode()
        if file.endswith(".csv"):
            return _csv_rows(text)
        tables = tomllib.loads(text) if file.endswith(".toml") else json.loads(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    rows = tables.get(name) if isinstance(tables, dict) else None
    if isinstance(rows, list):
        return {str(key): True for key in rows}
    if not isinstance(rows, dict):
        raise ValueError(f"{file} has no table {name!r}; write [{name}] above its rows")
    return rows


def _csv_rows(text: str) -> Mapping[str, Any]:
    head, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    rows: dict[str, Any] = {}
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        if len(line) != len(head):
            raise ValueError(f"line {number} has {len(line)} columns, the head {len(head)}")
        key, *values = line
        if key in rows:
            raise ValueError(f"line {number} repeats the key {key!r}")
        single = values[0] if len(values) == 1 else True
        rows[key] = dict(zip(head[1:], values, strict=True)) if len(values) > 1 else single
    return rows
