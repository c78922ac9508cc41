"""``postalynk dev``: everything on one machine, a sink that plays receivers, and a demo."""

from __future__ import annotations

import json
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from postalynk.cli.app import app
from postalynk.cli.message import tell
from postalynk.cli.render import err, out
from postalynk.errors import SettingsError
from postalynk.settings import Settings, load

if TYPE_CHECKING:
    from postalynk.service.process import Process

DOMAIN = "demo.example"
STATES = frozenset({"delivered", "bounced"})
# Written to a file, so that every command works beside it with --config.
SETTINGS = """\
[api]
listen = "{listen}"
[submission]
listen = "{submission}"
[metrics]
listen = "{metrics}"
[queue]
url = "embedded:queue"
partitions = 8
[hot]
url = "embedded:hot"
[delivery]
smart_host = "{sink}"
ehlo = "dev.postalynk.example"
[policy]
path = "{policy}"
"""
PATIENCE_S = 60.0


@app.command
def dev(
    *,
    exit_: Annotated[bool, Parameter(name="--exit", negative="")] = False,
    listen: str = "127.0.0.1:8080",
    metrics: str = "127.0.0.1:9090",
    submission: str = "127.0.0.1:2525",
) -> int:
    """Start everything here, send a small demo, tell its story and stay up.

    Mail can reach only the built-in sink, whatever its address; nothing leaves this machine. The
    queue lives in a temporary directory that is removed at the end.

    Parameters
    ----------
    exit_
        End after the demo.
    listen
        Address of the API; another free port is taken when it is in use.
    metrics
        Address of /metrics, likewise.
    submission
        Address of SMTP submission, likewise.
    """
    from postalynk.policy import DEV
    from postalynk.service.process import Process
    from postalynk.testing import Sink

    with tempfile.TemporaryDirectory(prefix="postalynk-dev-") as directory:
        sink = Sink()
        file = Path(directory) / "postalynk.toml"
        file.write_text(
            SETTINGS.format(
                listen=_free(listen, "--listen"),
                metrics=_free(metrics, "--metrics"),
                submission=_free(submission, "--submission"),
                sink=sink.address,
                policy=DEV,
            )
        )
        settings = load(str(file), environ={})
        began = time.monotonic()

        def progress(step: str) -> None:
            err.print(f"[dim]{time.monotonic() - began:6.2f} s[/]  {step}")

        progress(f"sink on {sink.address}")
        process = Process(settings, is_sink_only=True, log_level="warning", progress=progress)
        demo = Demo(process, settings, file, stay=not exit_)
        try:
            status = process.run(on_ready=demo.start)
        finally:
            sink.stop()
        return status or demo.status


class Demo:
    """Sends four messages through the API, tells what became of each, and says how to go on."""

    def __init__(self, process: Process, settings: Settings, file: Path, *, stay: bool) -> None:
        self._process, self._settings, self._file, self._stay = process, settings, file, stay
        self._key = ""
        self.status = 1

    def start(self) -> None:
        """Run beside the event loop."""
        threading.Thread(target=self._run, name="demo", daemon=True).start()

    def _run(self) -> None:
        try:
            self._send_all()
            self.status = 0
        except (OSError, AssertionError, KeyError) as error:
            err.print(f"[bold red]the demo failed:[/] {error}")
        if self._stay and not self.status:
            self._say_how_to_go_on()
        else:
            self._process.stop()

    def _send_all(self) -> None:
        made = self._process.operations.call(
            "create_organization", {"name": "demo", "plan": "standard", "in_doubt": "retry"}
        )
        self._key = made["api_key"]
        self._process.operations.call(
            "add_domain", {"domain": DOMAIN, "org": made["org"], "rsa_key_pem": None}
        )
        err.print(f"\nfour messages from {DOMAIN}, all through POST /emails:\n")
        sent = {
            "delivered": self._post("ada@mail.example")[1]["id"],
            "deferred, then delivered": self._post("defer.ben@mail.example")[1]["id"],
            "bounced": self._post("bounce.cid@mail.example")[1]["id"],
        }
        status, refusal = self._post("not an address")
        for title, message_id in sent.items():
            out.rule(f"[bold]{title}", align="left")
            tell(self._story(message_id))
        out.rule("[bold]refused by validation", align="left")
        out.print(f"{status} {json.dumps(refusal, ensure_ascii=False)}\n", markup=False)

    def _post(self, recipient: str) -> tuple[int, Any]:
        message = {
            "from": f"Demo <hello@{DOMAIN}>",
            "to": [recipient],
            "subject": "First light",
            "text": "This went the whole way.\n",
            "html": "<p>This went the <b>whole</b> way.</p>\n",
        }
        request = urllib.request.Request(
            f"http://{self._settings.api.listen}/emails",
            json.dumps(message).encode(),
            {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def _story(self, message_id: str) -> dict[str, Any]:
        """The story once it has ended, waiting for it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                story: dict[str, Any] = self._process.operations.call(
                    "why", {"message_id": message_id}
                )
                if all(d["state"] in STATES for d in story["deliveries"]):
                    return story
            except Exception as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"no story of {message_id}: {error}") from error
            if time.monotonic() > deadline:
                raise AssertionError(f"{message_id} is still under way")
            time.sleep(0.1)

    def _say_how_to_go_on(self) -> None:
        settings = self._settings
        api, metrics = settings.api.listen, settings.metrics.listen
        body = f'{{"from":"hello@{DOMAIN}","to":"you@mail.example","subject":"Hi","text":"Hi"}}'
        out.print(
            f"API      http://{api}\nSMTP in  {settings.submission.listen}\n"
            f"metrics  http://{metrics}/metrics\n"
            f"sink     {settings.delivery.smart_host}\n"
            f"API key  {self._key}\n\ntry it:\n\n"
            f"curl -s http://{api}/emails -H 'Authorization: Bearer {self._key}' "
            f"-H 'Content-Type: application/json' \\\n  -d '{body}'\n\n"
            f"its story:\n\nPOSTALYNK_CONFIG={self._file} postalynk why ID\n\n"
            "Recipients that start with defer, bounce, full, slow or drop play those receivers.\n"
            "Ctrl-C ends it.",
            markup=False,
        )


def _free(listen: str, option: str) -> str:
    """The address, or one with a free port when it is taken."""
    from postalynk.service.listener import bind

    try:
        bind(listen, option).close()
    except SettingsError:
        bound = bind(listen.rpartition(":")[0] + ":0", option)
        host, port = bound.getsockname()[:2]
        bound.close()
        return f"{host}:{port}"
    return listen
