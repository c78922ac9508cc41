"""`EngineSettings`: the JSON that ``Engine(settings_json)`` reads; its fields are that contract.

**Model.** `postalynk.settings` is what an operator writes; this is what the engine is told. Zero
and the empty text mean "the engine's default", there as here. Only what the engine cannot know is
worked out: paths, this host's name, the port of a resolver. The engine refuses keys it does not
know and values it cannot use, naming them.
**Not here.** Pools, sources and keys: they change while it runs (`Engine.configure`).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from postalynk.errors import SettingsError

if TYPE_CHECKING:
    from postalynk.settings import Settings

DNS_PORT = 53
TLS_WORDS = ("opportunistic", "require", "verify")


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the engine is told once, at start."""

    shards: int
    """I/O threads; 0: one per four cores."""
    signing_threads: int
    """Threads that compose and sign; 0: one per core."""
    max_in_flight: int
    """Deliveries at a time, 1 or more."""
    journal: str
    """Path of the attempt journal."""
    dns_servers: list[str]
    """``address:port``; empty: the system's resolvers."""
    dnssec: str
    """``auto``, ``on`` or ``off``."""
    trust_anchor: str
    """File of DNSKEY records; empty: the root zone's."""
    smart_host: str
    """``host:port`` for everything; empty: MX routing."""
    smart_host_user: str
    """Who we are to it; empty: no login."""
    smart_host_password: str
    """What proves it; never shown, see `__repr__`."""
    smart_host_tls: str
    """``implicit`` or ``starttls``; empty: by the port."""
    smtp_port: int
    """Port of MX hosts."""
    ehlo: str
    """Name for EHLO where a source has none."""
    tls: str
    """``opportunistic``, ``require`` or ``verify``."""
    tls_domains: dict[str, str]
    """The same by recipient domain."""
    tls_ca_file: str
    """PEM file of further authorities; empty: none."""
    dane: bool
    """Whether TLSA records count."""
    sts: bool
    """Whether MTA-STS policies count."""
    sts_directory: str
    """Where they are kept."""
    sts_port: int
    """Port of the hosts that serve them."""
    tls_report: str
    """File of the counts for TLS reports."""
    chunking: bool
    """Whether CHUNKING is used where it is offered."""
    chunking_domains: dict[str, bool]
    """The same by recipient domain."""
    sites: dict[str, dict[str, str | bool]]
    """What is said of single sites: ``tls``, ``chunking``."""
    connections: int
    """Most connections per path; 0: the provider's own limit."""
    per_connection: int
    """Most messages per connection; 0: the provider's own limit."""
    rate: str
    """Most messages per path, such as ``100/s``; empty: the provider's own limit."""
    idle_s: int
    """How long an idle connection is kept."""
    max_age_s: int
    """How long a connection takes messages."""
    transcript_sample: int
    """One in so many delivered attempts keeps its transcript; 0: none."""

    def __repr__(self) -> str:
        """Names nothing: a password is among the fields."""
        return "EngineSettings(…)"

    @classmethod
    def of(cls, settings: Settings, *, journal: str, is_sink_only: bool = False) -> EngineSettings:
        """Work them out from the operator's; raises SettingsError naming the key.

        ``is_sink_only``: everything must go to the smart host, so there must be one.
        """
        delivery = settings.delivery
        if is_sink_only and not delivery.smart_host:
            _refuse(settings, "delivery.smart_host", "", "name the sink, host:port")
        if not 1 <= delivery.smtp.port <= 65_535:
            _refuse(settings, "delivery.smtp.port", delivery.smtp.port, "use 1 to 65535")
        for key in (
            "shards",
            "signing_threads",
            "connections",
            "per_connection",
            "idle_s",
            "transcript_sample",
        ):
            value = getattr(delivery, key)
            if value < 0:
                _refuse(settings, f"delivery.{key}", value, "use 0 or more")
        if delivery.max_age_s < 1:
            _refuse(settings, "delivery.max_age_s", delivery.max_age_s, "use 1 or more")
        tls, beside = delivery.tls, Path(journal).parent
        _check_tls(settings)
        ehlo = delivery.ehlo or socket.gethostname()
        # RFC 5321 section 4.1.1.1: a domain name or an address literal, so printable ASCII.
        if re.fullmatch(r"[!-~]{1,255}", ehlo, re.ASCII) is None:
            _refuse(settings, "delivery.ehlo", ehlo, "give this host's name in ASCII")
        return cls(
            shards=delivery.shards,
            signing_threads=delivery.signing_threads,
            max_in_flight=delivery.max_in_flight,
            journal=journal,
            dns_servers=[_resolver(settings, server) for server in settings.dns.servers],
            dnssec=settings.dns.dnssec,
            trust_anchor=_path(settings, settings.dns.trust_anchor),
            smart_host=delivery.smart_host,
            smart_host_user=delivery.smart_host_user,
            smart_host_password=_password(settings),
            smart_host_tls=delivery.smart_host_tls,
            smtp_port=delivery.smtp.port,
            ehlo=ehlo,
            tls=tls.default,
            tls_domains=dict(tls.domains),
            tls_ca_file=_path(settings, tls.ca_file),
            dane=tls.dane,
            sts=tls.mta_sts,
            sts_directory=str(beside / "mta-sts"),
            sts_port=tls.mta_sts_port,
            tls_report=str(beside / "tls-report.json"),
            chunking=delivery.chunking.default,
            chunking_domains=dict(delivery.chunking.domains),
            sites=_sites(settings),
            connections=delivery.connections,
            per_connection=delivery.per_connection,
            rate=delivery.rate,
            idle_s=delivery.idle_s,
            max_age_s=delivery.max_age_s,
            transcript_sample=delivery.transcript_sample,
        )


def _check_tls(settings: Settings) -> None:
    tls = settings.delivery.tls
    if settings.dns.dnssec not in ("auto", "on", "off"):
        _refuse(settings, "dns.dnssec", settings.dns.dnssec, "use auto, on or off")
    said = {"default": tls.default}
    said |= {f"sites.{site}": word for site, word in tls.sites.items()}
    said |= {f"domains.{domain}": word for domain, word in tls.domains.items()}
    for key, word in said.items():
        if word not in TLS_WORDS:
            _refuse(settings, f"delivery.tls.{key}", word, f"use {', '.join(TLS_WORDS)}")
    if not 1 <= tls.mta_sts_port <= 65_535:
        _refuse(settings, "delivery.tls.mta_sts_port", tls.mta_sts_port, "use 1 to 65535")


def _sites(settings: Settings) -> dict[str, dict[str, str | bool]]:
    tls, chunking = settings.delivery.tls.sites, settings.delivery.chunking.sites
    said: dict[str, dict[str, str | bool]] = {site: {} for site in (*tls, *chunking)}
    for site, word in tls.items():
        said[site]["tls"] = word
    for site, is_on in chunking.items():
        said[site]["chunking"] = is_on
    return said


def _password(settings: Settings) -> str:
    """The first line of the file that holds it; both or none of user and password are given."""
    user, name = settings.delivery.smart_host_user, settings.delivery.smart_host_password_file
    key = "delivery.smart_host_password_file"
    if bool(user) != bool(name) or (user and not settings.delivery.smart_host):
        _refuse(settings, key, name, "give smart_host, smart_host_user and this, or no login")
    if not name:
        return ""
    try:
        lines = settings.path(name).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{key}: {name} cannot be read", fix="check the file") from error
    if not lines or not lines[0]:
        _refuse(settings, key, name, "write the password on the file's first line")
    return lines[0]


def _path(settings: Settings, text: str) -> str:
    return str(settings.path(text)) if text else ""


def _resolver(settings: Settings, server: str) -> str:
    """``address:port`` of a resolver written with or without its port."""
    host, separator, port = server.rpartition(":")
    is_bare = not separator or (":" in host and not server.startswith("["))
    if is_bare:
        host, port = server, str(DNS_PORT)
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        _refuse(settings, "dns.servers", server, "write an address, 9.9.9.9 or [2620:fe::fe]:53")
    if not port.isdigit() or not 1 <= int(port) <= 65_535:
        _refuse(settings, "dns.servers", server, "use a port from 1 to 65535")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _refuse(settings: Settings, key: str, value: object, fix: str) -> NoReturn:
    origin = settings.origins.get(key, "default")
    raise SettingsError(f"{key} = {value!r} (from {origin}) is not usable", fix=fix)
