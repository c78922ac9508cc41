"""What a policy may use up: time, memory, and nothing outside the process (G4).

**Problem.** A hook that loops, builds a gigabyte or waits for a server stops everybody's mail.
**Memory and the world.** While hooks run, the thread has a limit of memory (rust/python:
MemoryError in the hook that would pass it) and may not reach out of the process
(`postalynk.policy.contained`). Both are faults of that hook alone.
**Time.** A hook that loops is interrupted, and its batch takes the fallback. A signal reaches only
the main thread, a trace function costs every call. CPython can raise an exception in another thread
(``PyThreadState_SetAsyncExc``), but it arrives when that thread next looks: after the policy has
returned it would hit whatever runs then.
**Model.** A token in a box. The step puts it in, runs the hooks, and takes it out; the watchdog
takes it out when time is over. Taking is one atomic operation, so exactly one of them has it. If
the step has it, nothing was raised and nothing will be. If the watchdog has it, the step waits
inside its ``try`` until the exception arrives. A token taken too early is put back.
**Law `inside`.** `Interrupted` arrives inside `Budget.run` or not at all.
**Not here.** Memory under Python's debug allocators (``PYTHONMALLOC=debug``, ``-X dev``), whose
blocks cannot be measured: no limit there. A policy stuck in C code, or one that swallows
BaseException for ever, cannot be interrupted: after `GRACE_S` the worker fails loudly, and the
process is started anew by whoever runs it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from postalynk.policy import contained
from postalynk.routing.native import memory_enter, memory_leave, memory_watch
from postalynk.routing.resolve import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Below it, one slow page fault or another thread's turn at the GIL would look like a loop.
FLOOR_S = 1.0
# How long an interrupted hook may take to unwind.
GRACE_S = 10.0
MEMORY_BYTES = 256 << 20
"""What the hooks of a batch may hold at a time: far more than tables of 512 KiB can ask for."""

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int


class _Lease:
    """One run of `work`: the token, and what happened to it."""

    __slots__ = ("claimed_at_s", "deadline_s", "ident", "is_over", "is_sent")

    def __init__(self, ident: int, deadline_s: float) -> None:
        self.ident = ident
        self.deadline_s = deadline_s
        self.claimed_at_s = 0.0
        self.is_sent = False
        self.is_over = False


class Budget:
    """Runs the hooks of one step, in one thread, within their time."""

    def __init__(
        self, per_delivery_s: float, floor_s: float = FLOOR_S, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        """``memory_bytes`` 0: no limit."""
        self._per_delivery_s = per_delivery_s
        self._floor_s = floor_s
        self._memory_bytes = memory_bytes if memory_bytes and _can_watch() else 0
        self._box: list[_Lease] = []
        # The watchdog's alone.
        self._claimed: _Lease | None = None

    def run(
        self, count: int, work: Callable[[], T], *, is_loading: bool = False
    ) -> T | Interrupted:
        """What ``work`` answers, or the interruption if ``count`` deliveries took too long.

        ``is_loading``: no hook runs yet; modules that are loaded may read files.
        """
        allowed_s = max(self._floor_s, count * self._per_delivery_s)
        lease = _Lease(threading.get_ident(), time.monotonic() + allowed_s)
        if not is_loading:
            contained.enter()
        memory_enter(self._memory_bytes)
        try:
            self._box.append(lease)
            try:
                answer = work()
            except Interrupted:
                raise
            except BaseException:
                contained.leave()
                self._settle(lease)
                raise
            contained.leave()
            self._settle(lease)
        except Interrupted as interrupted:
            lease.is_over = True
            return interrupted
        finally:
            contained.leave()
            memory_leave()
        return answer

    def _settle(self, lease: _Lease) -> None:
        """Take the token out, or wait for the interruption that is on its way."""
        while not self._take():
            was_sent = lease.is_sent
            time.sleep(0.001)
            # It would have arrived on return from the sleep: the policy has swallowed it.
            if was_sent:
                raise Interrupted

    def _take(self) -> bool:
        try:
            self._box.pop()
        except IndexError:
            return False
        return True

    def check(self, now_s: float) -> bool:
        """The watchdog's turn: interrupt if time is over. True: it did, and to no avail."""
        if self._claimed is not None:
            if not self._claimed.is_over:
                return now_s - self._claimed.claimed_at_s > GRACE_S
            self._claimed = None
        try:
            lease = self._box.pop()
        except IndexError:
            return False
        if now_s < lease.deadline_s:
            self._box.append(lease)
            return False
        lease.claimed_at_s = now_s
        self._claimed = lease
        _set_async_exc(lease.ident, Interrupted)
        lease.is_sent = True
        return False


@cache
def _can_watch() -> bool:
    """Whether memory can be counted here; once it can, the allocators are wrapped."""
    is_debug = sys.flags.dev_mode or "debug" in os.environ.get("PYTHONMALLOC", "")
    if is_debug or hasattr(sys, "gettotalrefcount"):
        return False
    memory_watch()
    return True
