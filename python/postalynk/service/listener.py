"""HTTP listeners: one uvicorn server per address, all in the process's own event loop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import uvicorn

from postalynk.errors import SettingsError


def bind(listen: str, key: str) -> socket.socket:
    """A bound socket for ``host:port``; SettingsError names the setting when it is taken."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), int(port)))
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"{key} = {listen!r} cannot be listened on: {error.strerror}",
            fix="stop what uses that port, or choose another",
        ) from error
    return bound


def bind_unix(path: Path) -> socket.socket:
    """A bound Unix socket only its owner can open; the path may be longer than 107 bytes."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(path) as short:
        bound.bind(short)
    path.chmod(0o600)
    return bound


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """Connect to a socket made by `bind_unix`; raises OSError when nobody answers."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(timeout_s)
    try:
        with _short(path) as short:
            connected.connect(short)
    except OSError:
        connected.close()
        raise
    return connected


@contextlib.contextmanager
def _short(path: Path) -> Generator[str]:
    """The same path through a file descriptor: sun_path holds 107 bytes, paths may be longer."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to the process and says when it is open."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the process's business."""
        yield

    @classmethod
    async def open(cls, app: Callable[..., Any], bound: socket.socket) -> "Listener":
        """Serve ``app`` on ``bound``; returns once connections are taken."""
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="auto",
            server_header=False,
            timeout_graceful_shutdown=10,
            backlog=2048,
        )
        listener = cls(config)
        listener.task = asyncio.create_task(listener.serve(sockets=[bound]))
        await listener.opened.wait()
        return listener

    task: "asyncio.Task[None]"

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.opened = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then tells `open`."""
        try:
            await super().startup(sockets)
        finally:
            self.opened.set()

    async def close(self) -> None:
        """Take no more connections and finish the requests under way."""
        self.should_exit = True
        await self.task
