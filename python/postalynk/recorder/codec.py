"""Where the recorder meets Rust: events to columns, records to dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from postalynk import __version__
from postalynk._engine import EventColumns, RecordBatch, encode_dead_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postalynk.queue.protocol import Append
    from postalynk.recorder.projection import Batch, Decoded, Row


class RecordCodec:
    """The `Codec` of every recorder but those under test."""

    def decode(self, records: Batch | Sequence[Row]) -> Decoded:
        """Decode a batch; what is no event is listed, not raised."""
        return EventColumns(cast("RecordBatch | Sequence[Row]", records))

    def dead_letter(self, row: Row, reason: str, detail: str, at_us: int) -> Append:
        """The record of ``email.dlq`` that holds ``row`` whole."""
        topic, partition, offset, _, value = row
        letter = encode_dead_letter(
            reason, detail, topic, partition, offset, at_us, value, version=__version__
        )
        return "email.dlq", partition, None, letter
