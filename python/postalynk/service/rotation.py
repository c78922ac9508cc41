"""Looking at DNS while signing keys change, so that no operator has to.

Every ``control.key_check_s`` it asks ``[dns] servers`` for the records of domains whose keys change
and hands what it saw to `Control.advance_keys`; what follows from it is decided in
`postalynk.control.rotation`. Nothing is kept here: after a restart the next look goes on from the
state in ``email.config``. A server that does not answer changes nothing and is asked again.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from postalynk.control.border import is_shown
from postalynk.control.domains import KeyShown
from postalynk.control.operations import Control
from postalynk.control.preflight import Lookup, Unanswered
from postalynk.control.resolver import Resolver
from postalynk.control.rotation import US_PER_S, Waits, shown_name
from postalynk.control.values import DkimKey, Domain
from postalynk.errors import PostalynkError
from postalynk.observability import get_logger
from postalynk.settings import Settings

log = get_logger(__name__)


def key_waits(settings: Settings) -> Waits:
    """How long a key stays in each state."""
    return Waits(
        settle_us=round(settings.control.key_settle_s * US_PER_S),
        retire_us=round(settings.control.key_retire_s * US_PER_S),
    )


def look(
    domain: str,
    keys: Iterable[DkimKey | KeyShown],
    lookup: Lookup,
    is_over: Callable[[], bool] = lambda: False,
) -> dict[str, bool]:
    """Selector → whether DNS shows its record; without those of which no server would say."""
    shown = {}
    for key in keys:
        if is_over():
            break
        with suppress(Unanswered):
            texts = lookup.texts(shown_name(domain, key.selector))
            shown[key.selector] = is_shown(key.record, texts)
    return shown


class KeyRotation:
    """The periodic look; runs in the event loop, asks DNS from a thread."""

    def __init__(self, settings: Settings, control: Control) -> None:
        self._every_s = settings.control.key_check_s
        self._lookup = Resolver(settings.dns.servers)
        self._control = control
        self._is_over = threading.Event()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look until `stop`."""
        while not self._is_over.is_set():
            await asyncio.to_thread(self._look_once)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._every_s)

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """End `run` after the question under way."""
        self._is_over.set()
        self._wake.set()
        await asyncio.wait([running])

    def _look_once(self) -> None:
        for domain in self._control.changing_domains():
            shown = look(domain.name, domain.keys, self._lookup, self._is_over.is_set)
            if self._is_over.is_set():
                return
            try:
                advanced = self._control.advance_keys(domain.name, shown)
            except PostalynkError as error:
                # Removed meanwhile, or not durable: what is so is still in force.
                log.warning("signing keys stay as they are", domain=domain.name, error=str(error))
            else:
                _log_changes(domain, advanced)


def _log_changes(before: Domain, after: Domain) -> None:
    states: dict[str, str] = {key.selector: key.state for key in after.keys}
    for key in before.keys:
        state = states.get(key.selector, "gone")
        if state != key.state:
            log.info("signing key", domain=after.name, selector=key.selector, state=state)
