"""The embedded server: made, adopted, killed, stopped, and by whom it can be run."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from postalynk.errors import StorageError
from postalynk.storage.hot import unprivileged
from postalynk.storage.hot.cluster import SETTINGS
from postalynk.storage.hot.embedded import EmbeddedPostgres

SUPERVISOR = """
import sys, time
from postalynk.storage.hot.embedded import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1])
server.start(lambda step: print(step, flush=True))
print("pid", server.pid, flush=True)
if sys.argv[2] == "stay":
    time.sleep(600)
server.stop()
print("stopped", flush=True)
"""


def query(dsn: str, text: str = "SELECT 1") -> Any:
    async def ask() -> Any:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn, timeout=5)
        try:
            return await connection.fetchval(text)
        finally:
            await connection.close()

    return asyncio.run(ask())


def eventually(check: Any, within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while True:
        try:
            if answer := check():
                return answer
        except (OSError, StorageError, asyncpg.PostgresError):
            pass
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def supervisor(directory: Path, then: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    package = Path(__file__).resolve().parents[3] / "python"
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", SUPERVISOR, str(directory), then],
        env={**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="postalynk-embedded-"))
    yield directory
    shutil.rmtree(directory)


def test_a_fresh_directory_becomes_a_private_server(place: Path) -> None:
    steps: list[str] = []
    server = EmbeddedPostgres(place / "hot")
    dsn = server.start(steps.append)
    try:
        assert steps == [
            "creating the database",
            "starting PostgreSQL",
            "PostgreSQL takes connections",
        ]
        assert server.start() == dsn, "a second start changes nothing"
        assert query(dsn, "SHOW synchronous_commit") == "off"
        assert query(dsn, "SHOW fsync") == SETTINGS["fsync"] == "on"
        for name, mode in ("", 0o700), ("data", 0o700), ("password", 0o600):
            assert stat.S_IMODE((place / "hot" / name).stat().st_mode) == mode
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(dsn.replace("postalynk:", "postalynk:x"))
        assert EmbeddedPostgres(place / "hot").dsn == dsn, "another process finds it"
    finally:
        server.stop()
    assert server.pid is None
    server.stop()
    assert server.start() == dsn, "the port is kept"
    server.stop()


def test_a_taken_port_is_given_up(place: Path) -> None:
    server = EmbeddedPostgres(place)
    server.start()
    server.stop()
    squat = (
        "import socket, sys, time\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print('x', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", squat, (place / "port").read_text().strip()],
        stdout=subprocess.PIPE,
    ) as squatter:
        assert squatter.stdout is not None
        squatter.stdout.read(1)
        try:
            assert query(server.start()) == 1
        finally:
            server.stop()
            squatter.kill()


def test_a_path_longer_than_any_socket_path(place: Path) -> None:
    with EmbeddedPostgres(place / ("d" * 200) / "hot") as server:
        assert query(server.dsn) == 1


def test_a_killed_server_comes_back_with_its_rows(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        query(server.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        query(server.dsn, "CHECKPOINT")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.pid not in {None, pid} and query(server.dsn))
        assert query(server.dsn, "SELECT n FROM kept") == 7


def test_a_server_outlives_its_killed_supervisor_and_is_adopted(place: Path) -> None:
    """kill -9 of our process leaves the server running: the next start uses that very one."""
    with supervisor(place, "stay") as first:
        assert first.stdout is not None
        pid = next(int(line.split()[1]) for line in first.stdout if line.startswith("pid"))
        first.kill()
    steps: list[str] = []
    server = EmbeddedPostgres(place)
    server.start(steps.append)
    assert steps == ["PostgreSQL was running and is adopted"]
    assert server.pid == pid
    assert query(server.dsn) == 1
    server.stop()
    command = Path(f"/proc/{pid}/cmdline")
    assert not (command.exists() and command.read_bytes()), "a zombie at most"


def test_a_pid_file_that_names_somebody_else_is_stale(place: Path) -> None:
    """After a reboot the number may be anybody's: it is neither adopted nor signalled."""
    server = EmbeddedPostgres(place)
    server.start()
    port = (place / "port").read_text()
    server.stop()
    with subprocess.Popen(["sleep", "600"]) as bystander:
        lines = [str(bystander.pid), str(place / "data"), "1", port, "", "127.0.0.1", "", "ready"]
        (place / "data" / "postmaster.pid").write_text("\n".join(lines))
        assert server.pid is None
        assert query(server.start()) == 1
        server.stop()
        assert bystander.poll() is None
        bystander.kill()


def test_two_supervisors_do_not_share_a_directory(place: Path) -> None:
    with EmbeddedPostgres(place), pytest.raises(StorageError, match=f"process {os.getpid()}"):
        EmbeddedPostgres(place).start()


def test_an_interrupted_creation_is_begun_anew(place: Path) -> None:
    (place / "data.new1234").mkdir()
    (place / "data.new1234" / "half").write_text("")
    with EmbeddedPostgres(place) as server:
        assert query(server.dsn) == 1
    assert [path.name for path in place.glob("data*")] == ["data"]


def test_a_server_that_cannot_start_says_why(place: Path) -> None:
    server = EmbeddedPostgres(place)
    server.start()
    server.stop()
    (place / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(StorageError, match=r"9\.6"):
        server.start()


def _ways() -> list[str]:
    """Root has three ways to run it; an ordinary user is one."""
    return ["namespace", "account", "ordinary user"] if os.geteuid() == 0 else ["as we are"]


@pytest.mark.parametrize("way", _ways())
def test_whoever_runs_us_it_starts(way: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent directory is closed to everyone else, as a home directory is."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    if way == "ordinary user":
        os.chown(place, 65_534, 65_534)
        os.chown(closed, 65_534, 65_534)
        prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        with supervisor(closed / "hot", "stop", prefix) as process:
            output, _ = process.communicate(timeout=60)
        assert output.endswith("stopped\n"), output
        assert (closed / "hot" / "data").stat().st_uid == 65_534
        return
    if way == "account":
        _, account = unprivileged._candidates(unprivileged._account())
        monkeypatch.setattr(unprivileged, "_candidates", lambda _account: (account,))
    with EmbeddedPostgres(closed / "hot") as server:
        assert query(server.dsn) == 1
        owner = (closed / "hot" / "data").stat().st_uid
        assert owner == (65_534 if way == "account" else os.geteuid())


@pytest.mark.parametrize("then", _ways()[:1])
def test_a_directory_may_change_its_way(
    then: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may lose the right to namespaces, or gain it: ownership follows."""
    if os.geteuid() == 0:
        with monkeypatch.context() as patch:
            _, account = unprivileged._candidates(unprivileged._account())
            patch.setattr(unprivileged, "_candidates", lambda _account: (account,))
            with EmbeddedPostgres(place) as server:
                assert query(server.dsn) == 1
    with EmbeddedPostgres(place) as server:
        assert query(server.dsn) == 1


def test_no_way_at_all_names_the_fix(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refused = unprivileged.Launcher(("false",), 0, 0)
    absent = unprivileged.Launcher(("no-such-program",), 0, 0)
    monkeypatch.setattr(unprivileged, "_candidates", lambda _account: (refused, absent))
    with pytest.raises(StorageError, match=r"ordinary user.*hot\.url"):
        EmbeddedPostgres(place).start()
