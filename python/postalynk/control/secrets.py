"""The master key and what it seals.

**Problem.** Signing keys must be at rest in the queue's files, which are copied, backed up and
replicated; whoever holds a copy must not hold the keys.
**Model.** One master key of 32 bytes in a file of its own (base64, mode 0600). A secret is sealed
by AES-256-GCM under a fresh 96-bit nonce, bound to its place by associated data, so that a sealed
key moved to another domain or selector does not open.
**Not here.** Rotation of the master key; a key kept by a KMS.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path
from typing import final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from postalynk.errors import ControlError

KEY_BYTES = 32
NONCE_BYTES = 12


@final
class Secrets:
    """Seals and opens; shows nothing of the key."""

    __slots__ = ("_cipher",)

    def __init__(self, master_key: bytes) -> None:
        """Raises ControlError unless the key is 32 bytes."""
        if len(master_key) != KEY_BYTES:
            raise ControlError(
                f"the master key has {len(master_key)} bytes instead of {KEY_BYTES}",
                fix="restore the original file; a new key cannot open the stored DKIM keys",
            )
        self._cipher = AESGCM(master_key)

    def __repr__(self) -> str:
        return "Secrets(…)"

    def seal(self, secret: bytes, place: str) -> str:
        """Base64 of nonce and ciphertext, bound to ``place``."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, secret, place.encode())
        return base64.b64encode(sealed).decode()

    def unseal(self, sealed: str, place: str) -> bytes:
        """The secret. Raises ControlError when key, place or text are not those of the sealing."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode())
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise ControlError(
                f"the secret of {place} does not open with this master key",
                fix="put back the master key file that was in use when it was stored",
            ) from error


def load(path: Path) -> Secrets:
    """Read the master key, making it at first start.

    Raises ControlError when the file can be read by others, is unreadable or is not a key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        _create(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ControlError(
            f"cannot read {path}: {error.strerror}", fix="check its owner"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ControlError(
                f"{path} holds the master key and others may read it (mode {mode:04o})",
                fix=f"chmod 600 {path}",
            )
        text = file.read(1024)
    try:
        return Secrets(base64.b64decode(text.strip(), validate=True))
    except binascii.Error as error:
        raise ControlError(f"{path} is not base64", fix="restore the original file") from error


def _create(path: Path) -> None:
    """A whole key or none: written aside, synced, then linked to its name, unless taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return  # another process was first; its key is the key
        finally:
            aside.unlink()
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ControlError(
            f"cannot make the master key {path}: {error.strerror}", fix="check the directory"
        ) from error
