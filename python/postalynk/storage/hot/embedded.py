"""A PostgreSQL of our own, supervised: started, adopted, restarted, stopped.

**Problem.** `postalynk dev` and a single machine need a database nobody has to install, that comes
back by itself, and that outlives a `kill -9` of ours without being started twice.
**Model.** One supervisor per directory (a lock file says so). `start` adopts the live server of the
directory or launches one; a thread then launches it again, with growing pauses, whenever it is
gone, until `stop`. A server of a killed supervisor simply goes on and is adopted by the next.
**Invariants.** At most one server per directory. Only the directory's own server is signalled.
**Not here.** Files, command line and ownership (`cluster`); a server of somebody else, named by a
``postgresql://`` URL, needs none of this.

All calls block and may be made from any thread; a coroutine goes through `asyncio.to_thread`.
"""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from postalynk.errors import StorageError
from postalynk.storage.hot.cluster import Cluster, Running, answers

START_S = 60.0
"""A crashed server replays at most `max_wal_size` before it takes connections."""
STOP_S = 10.0
"""A fast shutdown writes one checkpoint; longer than this and it is cut short."""
WATCH_S = 0.25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0

_log = structlog.get_logger(__name__)


def _silent(_step: str) -> None:
    pass


class EmbeddedPostgres:
    """The server of one directory; also a context manager that starts and stops it."""

    def __init__(self, directory: Path | str) -> None:
        self._cluster = Cluster(Path(directory))
        self._calls = threading.RLock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._lock_file: int | None = None

    @property
    def dsn(self) -> str:
        """The server's URL, password included; StorageError when the directory holds none.

        It is read from the directory each time: another process may ask, and the port may change
        when somebody took it while the server was down.
        """
        return self._cluster.dsn

    @property
    def pid(self) -> int | None:
        """The server's process; None while it is down."""
        running = self._cluster.running()
        return running.pid if running else None

    def start(self, progress: Callable[[str], None] = _silent) -> str:
        """Have a server that takes connections, keep it so, and give its DSN.

        ``progress`` is told each step in words. Raises StorageError when another process
        supervises the directory or the server cannot be started.
        """
        with self._calls:
            if self._watcher is not None:
                return self.dsn
            self._supervise_alone()
            try:
                self._stopping.clear()
                if not (self._cluster.data / "PG_VERSION").exists():
                    progress("creating the database")
                self._cluster.create()
                if self._bring_up(progress):
                    progress("PostgreSQL was running and is adopted")
                else:
                    progress("PostgreSQL takes connections")
            except BaseException:
                self._release()
                raise
            self._watcher = threading.Thread(
                target=self._watch, name="postgres-supervisor", daemon=True
            )
            self._watcher.start()
            return self.dsn

    def stop(self) -> None:
        """Fast shutdown: sessions end, what is committed is on disk. Does nothing when stopped."""
        with self._calls:
            if self._watcher is None:
                return
            self._stopping.set()
            self._watcher.join()
            self._watcher = None
            try:
                self._shut_down()
            finally:
                self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _bring_up(self, progress: Callable[[str], None]) -> bool:
        """Adopt or launch, and wait until it is ready; True when it was adopted."""
        found = self._cluster.running()
        if found is not None:
            ready = self._wait_ready()
            if ready is not None:
                self._cluster.note_port(ready)
                return True
            # It was going down when we looked; what it leaves is ours to start.
        error = ""
        for _ in range(3):  # a port may be taken between our look and the server's bind
            progress("starting PostgreSQL")
            self._cluster.launch()
            if self._wait_ready() is not None:
                return False
            error = self._cluster.last_log()
            if self._stopping.wait(FIRST_PAUSE_S):
                break
        raise StorageError(
            f"PostgreSQL does not start on {self._cluster.data}: {error}",
            fix=f"see {self._cluster.log}; it is a projection: moved away, replay fills a new one",
        )

    def _wait_ready(self) -> Running | None:
        """The server once it takes connections; None when it is gone instead."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            running = self._cluster.running()
            if running is not None and running.is_ready and answers(running.port):
                return running
            if running is None and self._cluster.has_exited():
                return None
            if self._stopping.wait(0.02):
                return None
        raise StorageError(
            f"PostgreSQL on {self._cluster.data} does not answer within {START_S:.0f} s",
            fix=f"see {self._cluster.log}",
        )

    def _watch(self) -> None:
        """Launch the server again whenever it is gone."""
        pause = FIRST_PAUSE_S
        while not self._stopping.wait(WATCH_S):
            if self._cluster.running() is not None:
                pause = FIRST_PAUSE_S
                continue
            _log.warning("PostgreSQL is gone and is started again", pause_s=pause)
            if self._stopping.wait(pause):
                return
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                self._bring_up(_silent)
            except (StorageError, OSError) as error:
                _log.error("PostgreSQL does not come back", error=str(error))
            else:
                _log.info("PostgreSQL is back", pid=self.pid)

    def _shut_down(self) -> None:
        pid = self.pid
        for number in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate
            self._cluster.signal(number)
            deadline = time.monotonic() + STOP_S
            while time.monotonic() < deadline:
                # An adopted server is not our child: its pid file goes just before it does.
                gone = pid is None or not self._cluster.is_ours(pid)
                if gone and self._cluster.running() is None and self._cluster.has_exited():
                    return
                time.sleep(0.01)
        # Our own end does not hang on a disk that hangs: it is told, and the next start waits.
        _log.warning("PostgreSQL has not stopped yet", pid=pid)

    def _supervise_alone(self) -> None:
        self._cluster.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._cluster.directory / "supervisor.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # not inherited by the server
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            raise StorageError(
                f"process {holder} already supervises the database in {self._cluster.directory}",
                fix="stop it, or give this one another hot.url",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock_file = lock

    def _release(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
