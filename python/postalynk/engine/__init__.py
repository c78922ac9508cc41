"""The Rust engine's settings and its door: what Python hands over before the first batch.

Everything behind `native` lives in ``postalynk._engine``, whose stub documents it; that module is
imported in `native` alone. Rooms above take its types and functions from here.
"""

from postalynk.engine.native import (
    Audit,
    Engine,
    Failure,
    OutcomeBatch,
    SigningChoice,
    choose_signing,
    decode_dead_letter,
    encode_dead_letter,
    encode_deferral,
    encode_event,
    open_engine,
    tlsrpt_rua,
)
from postalynk.engine.settings import EngineSettings

__all__ = [
    "Audit",
    "Engine",
    "EngineSettings",
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
