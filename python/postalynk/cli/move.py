"""``postalynk queue move``: from the embedded queue to Kafka."""

import time
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from postalynk.cli.app import COMMON, Common
from postalynk.cli.queue import queue
from postalynk.cli.render import emit_json, err, out, table
from postalynk.errors import ControlError
from postalynk.settings import Settings

TOLD_EVERY_S = 1.0


@queue.command
def move(
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str,
    yes: bool = False,
    common: Common = COMMON,
) -> None:
    """Move everything to Kafka, once; without --yes it only counts. Interrupted: run it again.

    Postalynk must be stopped, the topics made (``postalynk topics apply``) and empty.

    Parameters
    ----------
    from_
        The queue to move: embedded:DIRECTORY.
    to
        Where to: kafka://HOST:PORT,HOST:PORT.
    yes
        Do it.
    """
    from postalynk.service.moving import move as move_queue

    settings = common.settings()
    old, new = _with_url(settings, from_, "embedded:"), _with_url(settings, to, "kafka://")
    told = _Told()
    moved = move_queue(old, new, is_dry_run=not yes, progress=told.progress)
    if common.json:
        emit_json(msgspec.to_builtins(moved))
        return
    rows: list[dict[str, Any]] = [{"topic": t, "records": n} for t, n in moved.records.items()]
    table(rows, ["topic", "records"], empty="")
    if not yes:
        out.print("is there already" if moved.is_over else "add --yes to move it")
        return
    out.print(f"{moved.copied} records copied, everything is there: now set queue.url to {to}")


class _Told:
    """Says now and then how far it is."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + TOLD_EVERY_S

    def progress(self, topic: str, done: int, of: int) -> None:
        if (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + TOLD_EVERY_S
            err.print(f"{topic}: {done} of {of}" if of else f"{topic}: {done}")


def _with_url(settings: Settings, url: str, scheme: str) -> Settings:
    if not url.startswith(scheme):
        raise ControlError(f"{url!r} does not begin with {scheme}", fix=f"write {scheme}…")
    queue = msgspec.structs.replace(settings.queue, url=url)
    return msgspec.structs.replace(settings, queue=queue)
