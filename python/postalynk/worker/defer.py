"""Deferrals whose time has come: read back from the queue and given to the engine again.

The engine keeps times and keys; the records stay in ``email.deferred`` until they are due, so a
million of them cost little memory.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from postalynk.queue.topics import DEFERRED
from postalynk.worker.dead import Dead, bury
from postalynk.worker.parts import patiently

if TYPE_CHECKING:
    from postalynk.worker.parts import Parts

MAX_DUE = 500


class Defer:
    """Moves due deferrals from ``email.deferred`` into the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def once(self, room: int) -> int:
        """Admit due deferrals, with at most half of ``room``; how many there were.

        Half: after a long outage all retries are due at once and must not keep fresh mail out.
        """
        admitted = 0
        for partition, keys in self._parts.engine.due(min(MAX_DUE, (room + 1) // 2)):
            ask = partial(self._parts.queue.get, DEFERRED, partition, keys)
            values = patiently(self._parts, ask)
            bad = dict(self._parts.engine.admit_deferred(partition, keys, values))
            admitted += len(keys)
            if not bad:
                continue
            by_key = dict(zip(keys, values, strict=True))
            # No offset: a compacted topic has none. The tombstone ends the deferral.
            dead = [
                Dead(DEFERRED, partition, 0, reason, by_key[key] or b"", key)
                for key, reason in bad.items()
            ]
            bury(self._parts, dead, [(DEFERRED, partition, key, None) for key in bad])
        return admitted
