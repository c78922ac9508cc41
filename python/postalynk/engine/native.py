"""The one file of this room that touches the extension.

**What signs RSA** is chosen at start, by ``delivery.signer`` and by what the machine can. aws-lc-rs
is always there. Where the CPU has AVX-512 IFMA and the extra ``postalynk[multibuffer]`` is
installed, eight signatures are made in one call by Intel's crypto_mb (`SigningLanes`). ``auto``
takes the faster of what is there; a choice that cannot be kept is an error, not a slower start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from postalynk._engine import (
    Audit,
    Engine,
    Failure,
    OutcomeBatch,
    SigningLanes,
    decode_dead_letter,
    encode_dead_letter,
    encode_deferral,
    encode_event,
    tlsrpt_rua,
)
from postalynk.engine.settings import EngineSettings
from postalynk.errors import EngineError

if TYPE_CHECKING:
    from postalynk.settings import Settings

__all__ = [
    "Audit",
    "Engine",
    "Failure",
    "OutcomeBatch",
    "SigningChoice",
    "choose_signing",
    "decode_dead_letter",
    "encode_dead_letter",
    "encode_deferral",
    "encode_event",
    "open_engine",
    "tlsrpt_rua",
]


LANES = 8
ALONE = "aws-lc-rs"


class SigningChoice(msgspec.Struct, frozen=True):
    """What signs, and why that."""

    name: str
    """``aws-lc-rs`` or ``crypto_mb``."""
    reason: str
    lanes: SigningLanes | None = None

    def threads(self, asked: int) -> int:
        """Threads that compose and sign; 0 is "the engine's default".

        Those that wait for others to fill a call use no core, so there must be more than cores.
        """
        return asked if asked or self.lanes is None else LANES * (os.cpu_count() or 1)


def choose_signing(settings: Settings, directory: Path | None = None) -> SigningChoice:
    """Decide; raises EngineError when ``delivery.signer`` asks for what cannot run here.

    ``directory``: where the extra's libraries are; default: ``lib`` of the Python environment.
    """
    if settings.delivery.signer == ALONE:
        return SigningChoice(ALONE, "delivery.signer says so")
    try:
        lanes = SigningLanes(str(directory or Path(sys.prefix) / "lib"))
    except EngineError as error:
        if settings.delivery.signer == "multibuffer":
            raise EngineError(
                f"delivery.signer = 'multibuffer': {error}",
                fix="set it to auto, or use a machine and an installation that have it",
            ) from error
        return SigningChoice(ALONE, f"no multi-buffer: {error}")
    return SigningChoice(lanes.name, f"{LANES} signatures a call, each verified", lanes)


def open_engine(settings: Settings, directory: Path, *, is_sink_only: bool = False) -> Engine:
    """Start an engine whose attempt journal is ``directory/attempts.journal``.

    ``is_sink_only``: for ``postalynk dev``; everything goes to ``delivery.smart_host``, which must
    be set. Raises SettingsError or EngineError naming the key that is wrong, EngineError when the
    engine cannot start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    journal = str(directory / "attempts.journal")
    engine = EngineSettings.of(settings, journal=journal, is_sink_only=is_sink_only)
    signing = choose_signing(settings)
    threads = signing.threads(engine.signing_threads)
    engine = msgspec.structs.replace(engine, signing_threads=threads)
    return Engine(msgspec.json.encode(engine).decode(), signing.lanes)
