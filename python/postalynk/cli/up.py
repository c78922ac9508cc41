"""``postalynk up`` and ``postalynk-worker``: a process in the foreground until SIGTERM."""

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import err, out

WORKER_COMMAND = "worker"


@app.command
def up(*, common: Common = COMMON) -> int:
    """Run everything on this machine in the foreground: API, worker, recorder, PostgreSQL.

    Prints one line ``ready`` when every listener is open. SIGTERM drains and exits 0.
    """
    return _run(common, with_api=True)


@app.command(name=WORKER_COMMAND, show=False)
def worker(*, common: Common = COMMON) -> int:
    """Run the worker and the recorder without the API (``postalynk-worker``)."""
    return _run(common, with_api=False)


def _run(common: Common, *, with_api: bool) -> int:
    from postalynk.service.process import Process

    process = Process(common.settings(), with_api=with_api, progress=_say)
    return process.run(on_ready=lambda: out.print("ready"))


def _say(step: str) -> None:
    err.print(step, style="dim")
