"""The operator's side of the control socket: what `postalynk org create` and its like talk through.

The socket lies beside the queue (``control.sock``), so whoever may read the queue's directory may
operate it, and nobody else. JSON over HTTP/1.1, one request per connection.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from postalynk.errors import ControlError, NotRunning
from postalynk.service.listener import connect_unix
from postalynk.settings import Settings

SOCKET_NAME = "control.sock"


def control_directory(settings: Settings) -> Path:
    """Where the socket, the lock and the master key are: the embedded queue's directory."""
    if settings.queue.is_kafka:
        return settings.path(settings.queue.directory)
    return settings.path(settings.queue.url.partition(":")[2])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock: socket.socket = connect_unix(self._path, self._timeout_s)


class Client:
    """Asks a running Postalynk."""

    def __init__(self, settings: Settings) -> None:
        self._path = control_directory(settings) / SOCKET_NAME

    def call(self, name: str, arguments: dict[str, Any], *, timeout_s: float = 30.0) -> Any:
        """The decoded answer of one operation.

        Raises NotRunning when nobody listens, ControlError with the server's words on a refusal.
        """
        connection = _UnixConnection(self._path, timeout_s)
        try:
            connection.request(
                "POST", f"/{name}", json.dumps(arguments), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            answer = json.loads(response.read() or b"null")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotRunning(
                f"no Postalynk answers at {self._path}",
                fix="start it with `postalynk up`, or name its configuration with --config",
            ) from error
        except TimeoutError as error:
            raise ControlError(
                f"no answer within {timeout_s:g} s", fix="look at its log"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ControlError(f"the control socket broke off: {error}", fix="try again") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ControlError(answer.get("message", "refused"), fix=answer.get("fix", ""))
        return answer
