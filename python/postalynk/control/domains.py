"""A sender domain: its signing keys and the DNS records that publish them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
from postalynk.control.rotation import shown_name
from postalynk.control.secrets import Secrets
from postalynk.control.values import DkimKey, Domain, KeyState, Source
from postalynk.errors import ControlError

ALGORITHMS = ("rsa", "ed25519")
SELECTOR = "pl{}"
"""Numbered without end while a domain stays: a selector that was in use does not come back with
another key, for receivers keep records for as long as their TTL says.
"""
MERGE_SPF = (
    "Where the domain already has an SPF record, add these mechanisms to that one: a second record "
    "makes both void (RFC 7208 section 3.2)."
)
RSA_BITS = range(1024, 4097)
"""RFC 8301 section 3.2: signers MUST use 1,024 bits and SHOULD use 2,048, which is what is made."""


class DnsRecord(msgspec.Struct, frozen=True):
    """A record to publish; `value` is whole, a zone file splits it into strings of 255 octets."""

    name: str
    type: str
    value: str


class KeyShown(msgspec.Struct, frozen=True):
    """A signing key as operators see it; nothing of it is secret."""

    selector: str
    algorithm: str
    record: str
    """The TXT record that publishes it."""
    state: KeyState
    since_us: int
    """Microseconds since the Unix epoch; when it came into that state."""
    shown_since_us: int = 0
    """While it waits: since when DNS shows it; 0: it does not."""


class DomainSetup(msgspec.Struct, frozen=True):
    """What an operator needs to know after adding a domain."""

    domain: str
    org: str
    selectors: list[str]
    """Of the keys that sign."""
    records: list[DnsRecord]
    """To publish, and to keep."""
    notes: list[str]
    keys: list[KeyShown]


def place(domain: str, selector: str) -> str:
    """What a sealed key is bound to."""
    return f"{domain}|{selector}"


def make_keys(
    domain: str, secrets: Secrets, pem: bytes | None = None, before: Iterable[DkimKey] = ()
) -> list[DkimKey]:
    """An RSA and an Ed25519 key; the one in ``pem`` takes the place of the one of its kind.

    ``before``: the domain's keys so far, whose selectors are not used again. Raises ControlError
    when ``pem`` holds no key that can sign.
    """
    given = parse_pem(pem) if pem is not None else {}
    first = max((_number(key.selector) for key in before), default=0) + 1
    keys = []
    for number, algorithm in enumerate(ALGORITHMS, first):
        selector = SELECTOR.format(number)
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


def _number(selector: str) -> int:
    digits = selector.removeprefix(SELECTOR.format(""))
    return int(digits) if digits.isdigit() else 0


def parse_pem(pem: bytes) -> dict[str, bytes]:
    """{algorithm: PKCS#8 DER} of a PEM private key; raises ControlError, never quoting the key."""
    fix = "give an unencrypted PEM private key: RSA of 1,024 to 4,096 bits, or Ed25519"
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause is dropped on purpose: its text may quote the key.
        raise ControlError("the key given is not a usable private key", fix=fix) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size not in RSA_BITS:
            raise ControlError(f"the RSA key given has {key.key_size} bits", fix=fix)
        algorithm = "rsa"
    elif isinstance(key, Ed25519PrivateKey):
        algorithm = "ed25519"
    else:
        raise ControlError("the key given is neither RSA nor Ed25519", fix=fix)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {algorithm: der}


def setup_of(domain: Domain, sources: Iterable[Source]) -> DomainSetup:
    """Selectors, records, notes and keys of a domain."""
    records = [
        DnsRecord(shown_name(domain.name, key.selector), "TXT", key.record)
        for key in domain.keys
        if key.state != "retired"
    ]
    records.append(DnsRecord(domain.name, "TXT", _spf(sources)))
    records.append(DnsRecord(f"_dmarc.{domain.name}", "TXT", "v=DMARC1; p=none"))
    notes = [
        MERGE_SPF,
        f"Mail leaves with the sender as return path: bounces need an MX record of {domain.name}.",
        *_key_notes(domain),
    ]
    return DomainSetup(
        domain.name,
        domain.org,
        [key.selector for key in domain.keys if key.state == "signing"],
        records,
        notes,
        [
            KeyShown(
                key.selector,
                key.algorithm,
                key.record,
                key.state,
                key.since_us or domain.created_at_us,
                key.shown_since_us,
            )
            for key in domain.keys
        ],
    )


def _key_notes(domain: Domain) -> Iterator[str]:
    """What is to be done while keys change."""

    def names(state: KeyState) -> str:
        selectors = [key.selector for key in domain.keys if key.state == state]
        return ", ".join(shown_name(domain.name, selector) for selector in selectors)

    if waiting := names("waiting"):
        yield f"Publish {waiting}; once DNS shows them, the new keys sign by themselves."
    if retiring := names("retiring"):
        yield f"Keep {retiring} until the state is retired: mail signed with them is under way."
    if retired := names("retired"):
        yield f"Remove {retired}: their keys are destroyed."


def _spf(sources: Iterable[Source]) -> str:
    """SPF (RFC 7208) naming the addresses mail leaves from; ``a mx`` where the system chooses."""
    mechanisms = [f"ip{6 if ':' in s.ip else 4}:{s.ip}" for s in sources if s.ip]
    return " ".join(["v=spf1", *(mechanisms or ["a", "mx"]), "~all"])
