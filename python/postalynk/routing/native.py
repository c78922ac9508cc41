"""The one file of this room that touches the extension."""

from typing import TypeAlias

from postalynk._engine import routing_records

__all__ = ["RoutingRecord", "routing_records"]

RoutingRecord: TypeAlias = tuple[
    str, str, str, str, dict[str, str], str, list[tuple[str, str, str]], int, int
]
"""The stub's type of that name, which exists for type checkers alone."""
