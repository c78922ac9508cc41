"""Signing the same message with the same key: `postalynk.dkim` and dkimpy, whole operations.

Both read the message, canonicalize it relaxed/relaxed, hash and sign. dkimpy has no place to keep a
parsed key, so it parses one each time; that is what its users pay, and the README says so. Where
RSA keys can sign side by side, that is measured too, from as many threads as the engine would have.
"""

import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Literal

import dkim

from benches.micro._compose import ours as compose
from benches.micro._measure import interleaved, openssl_rsa_per_second
from benches.report import Report
from postalynk._engine import DkimSigner
from postalynk.dkim import Signer, generate_key
from postalynk.engine import choose_signing
from postalynk.engine.native import LANES
from postalynk.settings import Settings

DOMAIN, SELECTOR = "shop.example.com", "s1"
EACH = 16
"""Signatures one thread makes before the next look at the clock."""


def dkimpy_key(algorithm: str, der: bytes) -> bytes:
    """The key as dkimpy takes it: PEM, or for Ed25519 the base64 of the seed."""
    if algorithm == "ed25519":
        # PKCS#8 v1: the seed is the OCTET STRING within the OCTET STRING (RFC 8410 section 7).
        return base64.b64encode(der[der.index(b"\x04\x22\x04\x20") + 4 :][:32])
    body = base64.encodebytes(der)
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"


def side_by_side(
    der: bytes, message: bytes, theirs: Callable[[], object], floor: float
) -> dict[str, object]:
    """What a signature costs where eight share a call; nothing where they cannot."""
    lanes = choose_signing(Settings()).lanes
    if lanes is None:
        return {}
    threads = LANES * (os.cpu_count() or 1)
    signer = DkimSigner(DOMAIN, SELECTOR, der, lanes=lanes)
    wanted = DkimSigner(DOMAIN, SELECTOR, der).sign(message, 1)
    with ThreadPoolExecutor(threads) as pool:

        def some(_: int) -> bool:
            return all(signer.sign(message, 1) == wanted for _ in range(EACH))

        def ours() -> None:
            assert all(pool.map(some, range(threads)))

        rounds = interleaved(ours, theirs)
    rates = [r.ours * threads * EACH for r in rounds]
    calls, requests, again = lanes.counts
    return {
        "lanes": lanes.name,
        "lanes_per_second": median(rates),
        "lanes_us": 1e6 / median(rates),
        "lanes_ratio": median(rate / r.theirs for rate, r in zip(rates, rounds, strict=True)),
        "lanes_of_openssl": median(rates) / floor,
        "lanes_filled": requests / calls,
        "lanes_again": again,
    }


def run(name: str, algorithm: Literal["rsa", "ed25519"]) -> int:
    """Check both signatures with dkimpy's verifier, measure, write the figures."""
    der = generate_key(algorithm)
    signer = Signer(DOMAIN, SELECTOR, der)
    message = compose(files=0)
    key = dkimpy_key(algorithm, der)
    record = signer.dns_record.encode()

    def theirs() -> bytes:
        field: bytes = dkim.sign(
            message,
            SELECTOR.encode(),
            DOMAIN.encode(),
            key,
            canonicalize=(b"relaxed", b"relaxed"),
            signature_algorithm=signer.algorithm.encode(),
        )
        return field

    for field in (signer.sign(message), theirs()):
        if not dkim.verify(field + message, dnsfunc=lambda *_, **__: record):
            print("error: a signature does not verify")
            return 1
    floor = [openssl_rsa_per_second()] if algorithm == "rsa" else []
    rounds = interleaved(lambda: signer.sign(message), theirs)
    more: dict[str, object] = {}
    ours = median(r.ours for r in rounds)
    if algorithm == "rsa":
        floor.append(openssl_rsa_per_second())
        middle = sum(floor) / len(floor)
        more = {"openssl_per_second": floor, "of_openssl": ours / middle}
        more |= side_by_side(der, message, theirs, middle)
    path = Report(name, "signatures per second of one core", rounds, 1e6 / ours, more).write()
    ratios = [r.ours / r.theirs for r in rounds]
    print(
        f"{median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f}), {1e6 / ours:.1f} us  {path}"
    )
    if more:
        print(f"{more['of_openssl']:.2f} of openssl speed rsa2048 before and after")
    if "lanes" in more:
        print(
            f"{more['lanes']}: {more['lanes_ratio']:.1f}x, {more['lanes_us']:.1f} us, "
            f"{more['lanes_of_openssl']:.2f} of openssl, {more['lanes_filled']:.1f} a call"
        )
    return 0
