"""The one file of this room that touches the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from postalynk._engine import (
    Audit,
    Engine,
    Failure,
    decode_dead_letter,
    encode_dead_letter,
)
from postalynk.engine.settings import EngineSettings

if TYPE_CHECKING:
    from pathlib import Path

    from postalynk.settings import Settings

__all__ = [
    "Audit",
    "Engine",
    "Failure",
    "decode_dead_letter",
    "encode_dead_letter",
    "open_engine",
]


def open_engine(settings: Settings, directory: Path, *, is_sink_only: bool = False) -> Engine:
    """Start an engine whose attempt journal is ``directory/attempts.journal``.

    ``is_sink_only``: for ``postalynk dev``; everything goes to ``delivery.smart_host``, which must
    be set. Raises SettingsError or EngineError naming the key that is wrong, EngineError when the
    engine cannot start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    journal = str(directory / "attempts.journal")
    engine = EngineSettings.of(settings, journal=journal, is_sink_only=is_sink_only)
    return Engine(msgspec.json.encode(engine).decode())
