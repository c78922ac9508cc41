"""The command line: a file per noun; each command computes one result and renders it."""

import sys


def main() -> None:
    """Entry point of ``postalynk``."""
    from postalynk.cli import (  # noqa: F401
        dead_letter,
        dev,
        doctor,
        domain,
        message,
        organization,
        pool,
        queue,
        up,
    )
    from postalynk.cli.app import run

    sys.exit(run())


def worker_main() -> None:
    """Entry point of ``postalynk-worker``: everything of ``up`` but the API."""
    from postalynk.cli import up
    from postalynk.cli.app import run

    sys.exit(run([up.WORKER_COMMAND, *sys.argv[1:]]))
