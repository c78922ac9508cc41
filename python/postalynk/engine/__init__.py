"""The Rust engine's settings and its door: what Python hands over before the first batch.

Everything behind `native` lives in ``postalynk._engine``, whose stub documents it; that module is
imported in `native` alone, so a room that needs one of its functions takes it from here.
"""

from postalynk.engine.native import (
    Engine,
    Failure,
    OutcomeBatch,
    RouteBatch,
    Sink,
    check_header,
    decode_dead_letter,
    encode_dead_letter,
    encode_messages,
    new_message_id,
    open_engine,
    parse_address,
    parse_mailbox,
    partition_of,
)
from postalynk.engine.settings import EngineSettings

__all__ = [
    "Engine",
    "EngineSettings",
    "Failure",
    "OutcomeBatch",
    "RouteBatch",
    "Sink",
    "check_header",
    "decode_dead_letter",
    "encode_dead_letter",
    "encode_messages",
    "new_message_id",
    "open_engine",
    "parse_address",
    "parse_mailbox",
    "partition_of",
]
