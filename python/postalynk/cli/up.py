"""``postalynk up`` and its parts: a process in the foreground until SIGTERM."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import err, out

if TYPE_CHECKING:
    from postalynk.service.process import Role

WORKER_COMMAND = "worker"


@app.command
def up(*, hold: Annotated[bool, Parameter(negative="")] = False, common: Common = COMMON) -> int:
    """Run everything on this machine in the foreground: API, worker, recorder, PostgreSQL.

    Prints one line ``ready`` when every listener is open. SIGTERM drains and exits 0.

    Parameters
    ----------
    hold
        Accept and keep mail, but deliver none: to look around after a restore, or while what would
        receive it is mended. Started again without it, everything held leaves in its order.
    """
    if hold:
        return _run(common, "api", "recorder")
    return _run(common, "api", "worker", "recorder")


@app.command
def api(*, common: Common = COMMON) -> int:
    """Run the HTTP API and SMTP submission only; needs Kafka. As many as you like."""
    return _run(common, "api")


@app.command
def recorder(*, common: Common = COMMON) -> int:
    """Run the recorder only: events into PostgreSQL; needs Kafka. One is enough."""
    return _run(common, "recorder")


@app.command(name=WORKER_COMMAND, show=False)
def worker(*, common: Common = COMMON) -> int:
    """Run a worker (``postalynk-worker``); on the embedded queue the recorder too."""
    if common.settings().queue.is_kafka:
        return _run(common, "worker")
    return _run(common, "worker", "recorder")


def _run(common: Common, *roles: "Role") -> int:
    from postalynk.service.process import Process

    process = Process(common.settings(), roles=frozenset(roles), progress=_say)
    return process.run(on_ready=lambda: out.print("ready"))


def _say(step: str) -> None:
    err.print(step, style="dim")
