"""The one file of this room that calls the engine: keys, domains and policies, what waits."""

from __future__ import annotations

from postalynk._engine import (
    EventColumns,
    Timers,
    dkim_generate,
    dkim_publishes,
    dkim_record,
    encode_event,
    encode_scheduled,
    fetch_sts_policy,
    parse_address,
    partition_of,
    routing_records,
    waiting,
)

__all__ = [
    "EventColumns",
    "Timers",
    "dkim_generate",
    "dkim_record",
    "encode_event",
    "encode_scheduled",
    "fetch_sts_policy",
    "is_shown",
    "normal_address",
    "normal_domain",
    "partition_of",
    "routing_records",
    "waiting",
]


def normal_address(text: str) -> str:
    """An address with its domain as A-labels; raises ValueError with the reason in plain words."""
    return parse_address(text.strip())


def normal_domain(text: str) -> str:
    """A domain as A-labels in lower case; raises ValueError with the reason in plain words."""
    if "@" in text:
        raise ValueError("a domain has no @")
    return parse_address(f"postmaster@{text.strip().rstrip('.')}").rpartition("@")[2]


def is_shown(record: str, texts: list[str]) -> bool:
    """Whether the TXT records found publish the key of ``record``, and no other beside it.

    A verifier may use any of several (RFC 6376 section 3.6.2.2), so there must be one.
    """
    return len(texts) == 1 and dkim_publishes(record, texts[0])
