"""The one file of this room that touches the extension."""

from typing import TypeAlias

from postalynk._engine import check_header, providers, routing_records

__all__ = ["RoutingRecord", "check_header", "providers", "routing_records"]
from postalynk._engine import TokenBucket, path_limits, routing_records

__all__ = ["RoutingRecord", "TokenBucket", "path_limits", "routing_records"]

RoutingRecord: TypeAlias = tuple[
    str, str, str, str, dict[str, str], str, list[tuple[str, str, str]], int, int
]
"""What a policy may read of an accepted message; the stub says which is which."""
