"""Dead letters that a newer release puts back by itself, by the rules of ``dead_letters.redrive``.

**Model.** A rule names a reason and the releases that process what fails for it. When the release
that runs is among them, letters with that reason go back that were put aside by one that is not: so
none goes back twice to the release that failed it, and an upgrade back and forth repeats nothing.
Looked at when the process starts, and then every hour, since a slower worker of the older release
may still have added some.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from postalynk import __version__
from postalynk.errors import QueueError
from postalynk.observability import get_logger
from postalynk.service import dead_letter
from postalynk.service.dead_letter import Pace
from postalynk.service.versions import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postalynk.queue.protocol import Queue
    from postalynk.service.dead_letter import Letter, Redrive
    from postalynk.settings import DeadLetters

EVERY_S = 3_600.0


class _Stopped(Exception):
    """The process ends while letters go back."""


log = get_logger(__name__)


def chosen(letters: Sequence[Letter], settings: DeadLetters, version: str) -> list[Letter]:
    """The letters that a rule puts back, now that ``version`` runs."""
    rules = [(rule.reason, Range(rule.versions)) for rule in settings.redrive]
    return [
        letter
        for letter in letters
        if any(
            reason == letter.reason and known.holds(version) and not known.holds(letter.version)
            for reason, known in rules
        )
    ]


class AutomaticRedrive:
    """Applies the rules; `run` it in a task, end it with `stop`."""

    def __init__(
        self,
        queue: Queue,
        settings: DeadLetters,
        redrive: Callable[[Sequence[Letter], Pace], Redrive],
        version: str = __version__,
    ) -> None:
        """``redrive`` puts letters back at a pace; it blocks."""
        self._queue = queue
        self._settings = settings
        self._redrive = redrive
        self._version = version
        self._stopping = asyncio.Event()
        self._is_over = threading.Event()

    async def run(self) -> None:
        """Until stopped; what the queue will not take is tried again the next time."""
        while self._settings.redrive and not self._stopping.is_set():
            try:
                await asyncio.to_thread(self.once)
            except QueueError as error:
                log.warning("no dead letters can be put back", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY_S)

    def once(self) -> int:
        """Apply all rules; how many letters went back."""
        found = chosen(
            dead_letter.letters(self._queue, dead_letter.Filter()), self._settings, self._version
        )
        if not found:
            return 0
        try:
            done = self._redrive(found, Pace(self._settings.redrive_per_s, self._sleep))
        except _Stopped:
            return 0  # the rest goes back after the next start
        log.info("dead letters put back by rule", reasons=dead_letter.counted(done.redriven))
        return len(done.redriven)

    def _sleep(self, seconds: float) -> None:
        if self._is_over.wait(seconds):
            raise _Stopped

    async def stop(self, task: asyncio.Task[None]) -> None:
        """End `run`."""
        self._stopping.set()
        self._is_over.set()
        await asyncio.wait([task])
