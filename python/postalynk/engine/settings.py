"""`EngineSettings`: the JSON that ``Engine(settings_json)`` reads; its fields are that contract.

**Model.** `postalynk.settings` is what an operator writes; this is what the engine wants: texts
parsed, empty ones made null, paths absolute. Both sides refuse fields they do not know.
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, NoReturn

import msgspec

from postalynk.errors import SettingsError

if TYPE_CHECKING:
    from postalynk.settings import Settings

_RATE = re.compile(r"(\d{1,9})/(s|m|min|h)", re.ASCII)
_PER_S = {"s": 1, "m": 60, "min": 60, "h": 3_600}

# A quarter of a gigabyte of records beside the kernel's buffers leaves a machine of 2 GB room.
MAX_IN_FLIGHT_BYTES = 268_435_456


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the engine is told once, at start."""

    shards: int
    """I/O threads, 1 or more."""
    signing_threads: int
    """Threads that compose and sign, 1 or more."""
    smart_host: str | None
    """``host:port`` for everything; null: MX routing."""
    sink_only: bool
    """Refuse to send anywhere but to the smart host (``postalynk dev``)."""
    port: int
    """Port of MX hosts."""
    dns_servers: list[str]
    """``address:port``; empty: the system's resolvers."""
    journal: str
    """Path of the attempt journal."""
    ehlo: str
    """Name for EHLO where a source has none."""
    max_in_flight: int
    """Deliveries at a time."""
    max_in_flight_bytes: int
    """Bytes of their records."""
    connections: int
    """Most connections per path; 0: the provider's own limit."""
    per_connection: int
    """Most messages per connection; 0: the provider's own limit."""
    rate: float | None
    """Most messages per second and path, 1 or more; null: the provider's own limit."""

    @classmethod
    def of(cls, settings: Settings, *, journal: str, is_sink_only: bool = False) -> EngineSettings:
        """Work them out from the operator's; raises SettingsError naming the key."""
        delivery = settings.delivery
        cores = len(os.sched_getaffinity(0))
        if is_sink_only and not delivery.smart_host:
            _refuse(settings, "delivery.smart_host", "", "name the sink, host:port")
        if not 1 <= delivery.smtp.port <= 65_535:
            _refuse(settings, "delivery.smtp.port", delivery.smtp.port, "use 1 to 65535")
        for key in ("shards", "signing_threads", "connections", "per_connection"):
            value = getattr(delivery, key)
            if value < 0:
                _refuse(settings, f"delivery.{key}", value, "use 0 or more")
        ehlo = delivery.ehlo or socket.gethostname()
        # RFC 5321 section 4.1.1.1: a domain name or an address literal, so printable ASCII.
        if re.fullmatch(r"[!-~]{1,255}", ehlo, re.ASCII) is None:
            _refuse(settings, "delivery.ehlo", ehlo, "give this host's name in ASCII")
        return cls(
            shards=delivery.shards or max(1, cores // 4),
            signing_threads=delivery.signing_threads or cores,
            smart_host=delivery.smart_host or None,
            sink_only=is_sink_only,
            port=delivery.smtp.port,
            dns_servers=list(settings.dns.servers),
            journal=journal,
            ehlo=ehlo,
            max_in_flight=delivery.max_in_flight,
            max_in_flight_bytes=MAX_IN_FLIGHT_BYTES,
            connections=delivery.connections,
            per_connection=delivery.per_connection,
            rate=_rate(settings),
        )


def _rate(settings: Settings) -> float | None:
    text = settings.delivery.rate
    if not text:
        return None
    found = _RATE.fullmatch(text.strip())
    if found is None:
        _refuse(settings, "delivery.rate", text, "write 100/s, 600/m or 5000/h")
    per_second = int(found[1]) / _PER_S[found[2]]
    if per_second < 1:
        _refuse(settings, "delivery.rate", text, "use 1/s or more")
    return per_second


def _refuse(settings: Settings, key: str, value: object, fix: str) -> NoReturn:
    origin = settings.origins.get(key, "default")
    raise SettingsError(f"{key} = {value!r} (from {origin}) is not usable", fix=fix)
