"""A sender domain: its signing keys and the DNS records that publish them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from postalynk.control.border import dkim_generate, dkim_record
from postalynk.control.secrets import Secrets
from postalynk.control.values import DkimKey, Domain, Source
from postalynk.errors import ControlError

SELECTORS = {"rsa": "pl1", "ed25519": "pl2"}
MERGE_SPF = (
    "Where the domain already has an SPF record, add these mechanisms to that one: a second record "
    "makes both void (RFC 7208 section 3.2)."
)
MIN_RSA_BITS = 2048
"""RFC 8301 section 3.2: signers SHOULD use at least 2,048 bits."""


class DnsRecord(msgspec.Struct, frozen=True):
    """A record to publish; `value` is whole, a zone file splits it into strings of 255 octets."""

    name: str
    type: str
    value: str


class DomainSetup(msgspec.Struct, frozen=True):
    """What an operator needs to know after adding a domain."""

    domain: str
    org: str
    selectors: list[str]
    records: list[DnsRecord]
    notes: list[str]


def place(domain: str, selector: str) -> str:
    """What a sealed key is bound to."""
    return f"{domain}|{selector}"


def make_keys(domain: str, secrets: Secrets, pem: bytes | None = None) -> list[DkimKey]:
    """An RSA and an Ed25519 key; the one in ``pem`` takes the place of the one of its kind.

    Raises ControlError when ``pem`` holds no key that can sign.
    """
    given = parse_pem(pem) if pem is not None else {}
    keys = []
    for algorithm, selector in SELECTORS.items():
        der = given.get(algorithm) or dkim_generate(algorithm)
        keys.append(
            DkimKey(
                selector=selector,
                algorithm=algorithm,
                sealed=secrets.seal(der, place(domain, selector)),
                record=dkim_record(algorithm, der),
            )
        )
    return keys


def parse_pem(pem: bytes) -> dict[str, bytes]:
    """{algorithm: PKCS#8 DER} of a PEM private key; raises ControlError, never quoting the key."""
    fix = "give an unencrypted PEM private key: RSA of at least 2,048 bits, or Ed25519"
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause is dropped on purpose: its text may quote the key.
        raise ControlError("the key given is not a usable private key", fix=fix) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise ControlError(f"the RSA key given has only {key.key_size} bits", fix=fix)
        algorithm = "rsa"
    elif isinstance(key, Ed25519PrivateKey):
        algorithm = "ed25519"
    else:
        raise ControlError("the key given is neither RSA nor Ed25519", fix=fix)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {algorithm: der}


def setup_of(domain: Domain, sources: Iterable[Source]) -> DomainSetup:
    """Selectors, records and notes of a domain."""
    records = [
        DnsRecord(f"{key.selector}._domainkey.{domain.name}", "TXT", key.record)
        for key in domain.keys
    ]
    records.append(DnsRecord(domain.name, "TXT", _spf(sources)))
    records.append(DnsRecord(f"_dmarc.{domain.name}", "TXT", "v=DMARC1; p=none"))
    notes = [
        MERGE_SPF,
        f"Mail leaves with the sender as return path: bounces need an MX record of {domain.name}.",
    ]
    return DomainSetup(
        domain.name, domain.org, [key.selector for key in domain.keys], records, notes
    )


def _spf(sources: Iterable[Source]) -> str:
    """SPF (RFC 7208) naming the addresses mail leaves from; ``a mx`` where the system chooses."""
    mechanisms = [f"ip{6 if ':' in s.ip else 4}:{s.ip}" for s in sources if s.ip]
    return " ".join(["v=spf1", *(mechanisms or ["a", "mx"]), "~all"])
