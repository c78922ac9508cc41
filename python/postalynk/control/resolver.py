"""The questions of `postalynk.control.preflight`, asked of the resolvers in ``[dns] servers``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dns.exception
import dns.name
import dns.nameserver
import dns.resolver
import dns.reversename

from postalynk.control.preflight import Unanswered

TIMEOUT_S = 5.0


class Resolver:
    """Asks the servers given (``host``, ``host:port``, ``[v6]:port``), else the system's."""

    def __init__(self, servers: Sequence[str]) -> None:
        self._resolver = dns.resolver.Resolver(configure=not servers)
        self._resolver.lifetime = TIMEOUT_S
        if servers:
            self._resolver.nameservers = [_server(text) for text in servers]

    def texts(self, name: str) -> list[str]:
        """TXT records, their strings joined (RFC 7208 section 3.3)."""
        return [b"".join(r.strings).decode(errors="replace") for r in self._ask(name, "TXT")]

    def addresses(self, name: str) -> list[str]:
        """A and AAAA records."""
        return [r.address for kind in ("A", "AAAA") for r in self._ask(name, kind)]

    def exchanges(self, name: str) -> list[str]:
        """Hosts of the MX records, the preferred first; ``.`` is the null MX (RFC 7505)."""
        found = sorted(self._ask(name, "MX"), key=lambda r: r.preference)
        return [_name(r.exchange) for r in found]

    def names(self, address: str) -> list[str]:
        """PTR records of an IP address."""
        return [_name(r.target) for r in self._ask(dns.reversename.from_address(address), "PTR")]

    def _ask(self, name: dns.name.Name | str, kind: str) -> Iterator[Any]:
        try:
            yield from self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return
        except dns.exception.DNSException as error:
            raise Unanswered(f"no answer for {kind} {name}: {type(error).__name__}") from error


def _name(name: object) -> str:
    return str(name).lower().rstrip(".") or "."


def _server(text: str) -> dns.nameserver.Nameserver:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port or (":" in host and not host.startswith("[")):
        host, port = text, "53"
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))
