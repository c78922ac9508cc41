"""Signing messages with DKIM (RFC 6376), as RSA (RFC 8301) or Ed25519 (RFC 8463).

    signer = Signer("shop.example.com", "s1", Path("s1.pem").read_bytes())
    signed = signer.sign(message) + message

Two keys, two fields, one message: ``rsa.sign(message) + ed25519.sign(message) + message``.

The key is parsed once. From, To, Cc, Subject, Date, Reply-To, Message-ID, MIME-Version, Content-*,
List-Unsubscribe(-Post) and Feedback-ID are signed once more than they occur, so that none can be
added (RFC 6376 section 8.15); ``l=`` is never written (section 8.2); Return-Path, Received and Bcc
are never signed. Works on any message with CRLF line ends, `postalynk.mime`'s or not. Not here:
verifying.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from postalynk._engine import DkimSigner, dkim_generate
from postalynk.errors import SigningError

__all__ = ["Signer", "SigningError", "generate_key"]


class Signer:
    """One domain's signature with one key; frozen, and safe to share between threads."""

    __slots__ = ("_signer", "domain", "selector")

    def __init__(
        self,
        domain: str,
        selector: str,
        key: bytes | str,
        *,
        canonicalization: Literal["relaxed", "simple"] = "relaxed",
        timestamp: bool = True,
        expires_after_s: int | None = None,
    ) -> None:
        """A signer for ``d=domain``, whose public key is at ``selector._domainkey.domain``.

        ``domain``: two or more A-labels. ``key``: an unencrypted private key, PEM (PKCS#8, or
        PKCS#1 for RSA) or PKCS#8 DER; RSA of 1,024 to 4,096 bits (2,048 is
        what receivers want, RFC 8301), or Ed25519. ``canonicalization``:
        of header and body (RFC 6376 section 3.4). ``timestamp``: write ``t=``. ``expires_after_s``:
        write ``x=``, that many seconds after signing (section 3.5); choose days rather than hours,
        for mail waits in queues.

        Raises SigningError, a ValueError, on a bad name or key.
        """
        self.domain = domain
        self.selector = selector
        self._signer = DkimSigner(
            domain,
            selector,
            key.encode() if isinstance(key, str) else key,
            simple=canonicalization == "simple",
            timestamp=timestamp,
            expires_after_s=expires_after_s,
        )

    def __repr__(self) -> str:
        return f"Signer({self.domain!r}, {self.selector!r}, <{self.algorithm}>)"

    @property
    def algorithm(self) -> str:
        """``rsa-sha256`` or ``ed25519-sha256``, the value of ``a=``."""
        return self._signer.algorithm

    @property
    def dns_record(self) -> str:
        """The TXT record to publish at ``selector._domainkey.domain`` (RFC 6376 section 3.6.1)."""
        return self._signer.dns_record

    def sign(self, message: bytes, *, now_s: int | None = None) -> bytes:
        """Give the DKIM-Signature field, with its CRLF, to put in front of the message.

        ``message``: a whole RFC 5322 message whose line ends are CRLF. ``now_s``: seconds since the
        Unix epoch for ``t=`` and ``x=``; default: now. Lets the GIL go.

        Raises SigningError on a message without From, with a malformed header or a bare CR or LF.
        """
        return self._signer.sign(message, int(time.time()) if now_s is None else now_s)

    def sign_many(self, messages: Sequence[bytes], *, now_s: int | None = None) -> list[bytes]:
        """Give one field per message, in order. The GIL is let go once for all of them.

        Raises SigningError naming the index of the first message that cannot be signed; none is
        signed then.
        """
        return self._signer.sign_many(messages, int(time.time()) if now_s is None else now_s)


def generate_key(algorithm: Literal["rsa", "ed25519"] = "rsa") -> bytes:
    """Make a private key, PKCS#8 DER: RSA of 2,048 bits, which every receiver verifies, or Ed25519.

    Raises ValueError on another algorithm.
    """
    return dkim_generate(algorithm)
