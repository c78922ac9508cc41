"""What a hook may not do while it runs: reach out of the process, wait, or start something.

**Problem.** The lint sees ``socket.create_connection`` where it is written; it does not see it in a
library the policy calls. Such a hook would answer from what only this worker sees, and hold up
everybody's mail while it waits.
**Model.** CPython announces what programs do to the world as audit events (PEP 578). While a hook
runs on a thread, `_audit` refuses those in `_ROOMS` and `_EVENTS` there with `ForbiddenInHook`,
which is a fault like any other exception of a hook: counted with its line, the fallback is taken.
Imports pass: a module that is loaded late, as ``strptime`` does, is read from disk by the importer.
**Cost.** A thread that runs no hook pays one attribute look-up per event, and events are rare.
**Not here.** A sandbox: whoever wants to get around it can. Loading: a policy's modules may read.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

# The first part of an event's name: ``socket.connect``.
_NAMES = (
    "ctypes fcntl ftplib glob http imaplib mmap msvcrt nntplib os pathlib poplib pty resource"
    " shutil signal smtplib socket sqlite3 subprocess syslog telnetlib tempfile urllib webbrowser"
)
_ROOMS = frozenset(_NAMES.split())
_EVENTS = frozenset({"open", "time.sleep", "_thread.start_new_thread"})
_IMPORTER = "<frozen importlib"


class ForbiddenInHook(Exception):
    """A hook did what no hook may: ``socket.connect``, ``open``, ``subprocess.Popen``."""


class _Thread(threading.local):
    is_inside = False


_thread = _Thread()


def _audit(event: str, _arguments: object) -> None:
    if not _thread.is_inside:
        return
    if (event in _EVENTS or event.partition(".")[0] in _ROOMS) and not _is_import():
        raise ForbiddenInHook(
            f"{event} in a hook: hooks do no I/O and wait for nothing; put facts in a table,"
            " make what needs a file when the module is loaded"
        )


def _is_import() -> bool:
    """Whether the importer does it, for a module that is loaded while the hook runs."""
    frame = sys._getframe(1)  # noqa: SLF001  no other way to see who calls
    while (back := frame.f_back) is not None:
        if back.f_code.co_filename.startswith(_IMPORTER):
            return True
        frame = back
    return False


@cache
def _watch() -> None:
    # For good: CPython lets no hook be taken out again.
    sys.addaudithook(_audit)


@contextmanager
def contained() -> Generator[None]:
    """Refuse it on this thread meanwhile, as a worker does while a hook runs.

    with contained():
        answer = route(Message.fake(), Pools.fake(), at("12:00"))
    """
    enter()
    try:
        yield
    finally:
        leave()


def enter() -> None:
    """A hook begins on this thread."""
    _watch()
    _thread.is_inside = True


def leave() -> None:
    """It has ended."""
    _thread.is_inside = False
