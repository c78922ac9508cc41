"""The one file of this room that touches the extension."""

from typing import TypeAlias

from postalynk._engine import (
    TokenBucket,
    check_header,
    memory_enter,
    memory_leave,
    memory_watch,
    path_limits,
    providers,
    routing_records,
)

__all__ = [
    "RoutingRecord",
    "TokenBucket",
    "check_header",
    "memory_enter",
    "memory_leave",
    "memory_watch",
    "path_limits",
    "providers",
    "routing_records",
]

RoutingRecord: TypeAlias = tuple[
    str, str, str, str, dict[str, str], str, str, list[tuple[str, str, str]], int, int
]
"""What a policy may read of an accepted message; the stub says which is which."""
