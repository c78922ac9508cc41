"""The Received field of a message that came by SMTP (RFC 5321 section 4.4)."""

from __future__ import annotations

import email.utils
import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from postalynk.ingest.compose import uuid_text

if TYPE_CHECKING:
    from postalynk.ingest.border import SubmittedMessage


def received(item: SubmittedMessage, message_id: bytes, now_us: int, host: str) -> bytes:
    """Who said it was whom, from which address, and when.

    No FOR clause: it could show a Bcc recipient to the others (RFC 5321 section 7.6).
    """
    at = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    literal = _literal(item.client_ip)
    return (
        f"Received: from {item.client_name or literal} ({literal})\r\n"
        f"\tby {host} with {item.protocol} id {uuid_text(message_id)};\r\n"
        f"\t{email.utils.format_datetime(at)}\r\n"
    ).encode()


def _literal(ip: str) -> str:
    """An address literal (RFC 5321 section 4.1.3)."""
    address = ipaddress.ip_address(ip)
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
