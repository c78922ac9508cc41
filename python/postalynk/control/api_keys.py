"""Bearer keys: ``pl_`` + lookup prefix + ``_`` + secret.

**Model.** The prefix (40 bits) finds the record; the secret (160 bits) proves it. Stored is only
the SHA-256 of the whole token: with 160 random bits a slow hash would add cost and no safety.
**Law `same_work`.** Known and unknown prefixes do the same work: an unknown one is compared with a
dummy hash, and hashes are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping

import msgspec

from postalynk.control.values import ApiKey

PREFIX_BYTES = 5
SECRET_BYTES = 20
MARK = "pl_"

_TOKEN = re.compile(r"pl_([a-z2-7]{8})_[a-z2-7]{32}")
_DUMMY = hashlib.sha256(b"no such key").hexdigest()


class NewKey(msgspec.Struct, frozen=True):
    """An API key at the one moment it can be read; only its hash is kept."""

    org: str
    prefix: str
    api_key: str

    def __repr__(self) -> str:
        return f"NewKey(org={self.org!r}, prefix={self.prefix!r}, api_key='…')"


def base32(raw: bytes) -> str:
    """Lower case and without padding: 5 bytes give 8 characters."""
    return base64.b32encode(raw).decode().lower().rstrip("=")


def new_token(entropy: Callable[[int], bytes]) -> tuple[str, str]:
    """(lookup prefix, token) from fresh random bytes."""
    prefix = base32(entropy(PREFIX_BYTES))
    return prefix, f"{MARK}{prefix}_{base32(entropy(SECRET_BYTES))}"


def hash_token(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def find(keys: Mapping[str, ApiKey], token: str) -> ApiKey | None:
    """The key a token proves, or None; revoked keys prove nothing."""
    match = _TOKEN.fullmatch(token)
    key = keys.get(match.group(1)) if match else None
    is_same = hmac.compare_digest(
        hash_token(token).encode(), (key.sha256 if key else _DUMMY).encode()
    )
    return key if key is not None and is_same and not key.revoked_at_us else None
