"""The one file of this room that calls the engine: signing keys and the normal form of a domain."""

from __future__ import annotations

from postalynk._engine import dkim_generate, dkim_record, parse_address

__all__ = ["dkim_generate", "dkim_record", "normal_domain"]


def normal_domain(text: str) -> str:
    """A domain as A-labels in lower case; raises ValueError with the reason in plain words."""
    if "@" in text:
        raise ValueError("a domain has no @")
    return parse_address(f"postmaster@{text.strip().rstrip('.')}").rpartition("@")[2]
