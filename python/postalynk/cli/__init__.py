"""The command line: a file per noun; each command computes one result and renders it."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App


def commands() -> "App":
    """The whole tree of commands; importing a file is what adds its commands."""
    from postalynk.cli import (  # noqa: F401
        dead_letter,
        dev,
        doctor,
        domain,
        message,
        move,
        organization,
        policy,
        pool,
        queue,
        replay,
        suppression,
        tls_report,
        topics,
        trace,
        up,
        waiting,
    )
    from postalynk.cli.app import app

    return app


def main() -> None:
    """Entry point of ``postalynk``."""
    from postalynk.cli.app import run

    commands()
    sys.exit(run())


def worker_main() -> None:
    """Entry point of ``postalynk-worker``: everything of ``up`` but the API."""
    from postalynk.cli import up
    from postalynk.cli.app import run

    sys.exit(run([up.WORKER_COMMAND, *sys.argv[1:]]))
