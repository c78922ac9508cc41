"""SPF (RFC 7208) of a domain, evaluated as a receiver does, to see whether a source passes.

**Model.** Mechanisms are tried left to right; the first that matches gives its qualifier. At most
ten of them may ask DNS (section 4.6.4). **Not here.** Macros, ``exists`` and ``ptr``: a mechanism
with one of these never matches, which can only make the answer stricter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

Question = Callable[[str], list[str]]
RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
MOST_LOOKUPS = 10
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TooManyLookups(Exception):
    """More than ten mechanisms ask DNS: a receiver gives up (``permerror``)."""


class Spf:
    """One evaluation after another over the same three questions to DNS."""

    def __init__(self, texts: Question, addresses: Question, exchanges: Question) -> None:
        self._texts = texts
        self._addresses = addresses
        self._exchanges = exchanges
        self._lookups = 0

    def error(self, domain: str) -> str:
        """Why the domain has no usable record, in words; empty when it has one."""
        count = len(self._records(domain))
        if count == 0:
            return "is not published"
        return "" if count == 1 else f"{count} records, so none counts (RFC 7208 section 3.2)"

    def check(self, domain: str, ip: str) -> str:
        """``pass``, ``fail``, ``softfail``, ``neutral`` or ``permerror`` for mail from `ip`."""
        self._lookups = 0
        try:
            return self._check(domain, ipaddress.ip_address(ip))
        except TooManyLookups:
            return "permerror"

    def _records(self, domain: str) -> list[str]:
        found = (text.split() for text in self._texts(domain))
        return [" ".join(words) for words in found if words and words[0].lower() == "v=spf1"]

    def _check(self, domain: str, ip: IpAddress) -> str:
        records = self._records(domain)
        if len(records) != 1:
            return "permerror"
        redirect = ""
        for term in records[0].split()[1:]:
            if term.lower().startswith("redirect="):
                redirect = term.partition("=")[2]
            elif "=" not in term.partition(":")[0]:
                qualifier = term[0] if term[0] in RESULTS else "+"
                if self._matches(term.lstrip("+-~?"), domain, ip):
                    return RESULTS[qualifier]
        if redirect:
            self._count()
            return self._check(redirect, ip)
        return "neutral"

    def _matches(self, term: str, domain: str, ip: IpAddress) -> bool:
        name, _, value = term.partition(":")
        bare, _, length = name.partition("/")
        if not value:
            value = f"{domain}/{length}" if length else domain
        match bare.lower():
            case "all":
                return True
            case "ip4" | "ip6":
                return _is_within(ip, value)
            case "include":
                self._count()
                return self._check(value, ip) == "pass"
            case "a":
                self._count()
                host, _, length = value.partition("/")
                return self._has(host, length, ip)
            case "mx":
                self._count()
                host, _, length = value.partition("/")
                return any(self._has(mx, length, ip) for mx in self._exchanges(host))
        return False

    def _has(self, host: str, length: str, ip: IpAddress) -> bool:
        # "a/24//64": the first length is IPv4's, the second IPv6's.
        four, _, six = length.partition("//")
        chosen = four if ip.version == 4 else six
        suffix = f"/{chosen}" if chosen else ""
        return any(_is_within(ip, f"{address}{suffix}") for address in self._addresses(host))

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MOST_LOOKUPS:
            raise TooManyLookups


def _is_within(ip: IpAddress, network: str) -> bool:
    try:
        return ip in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
