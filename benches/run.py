"""Run one benchmark by name and check that it left its figures: ``python -m benches.run NAME``.

The benchmark ``first-light`` is ``benches/load/first_light.py``, ``mime`` is
``benches/micro/mime.py``: modules with a function ``main(arguments) -> int``. Each writes its own
figures (`benches.report`); a run that leaves none, or leaves one out, fails, whatever it printed.
"""

import importlib
import json
import sys
from pathlib import Path

from benches.report import KEYS, RESULTS

BENCHES = Path(__file__).resolve().parent
ROOMS = ("load", "micro")


def names() -> list[str]:
    """Every benchmark there is, by the name `make bench` takes."""
    return sorted(_modules())


def _modules() -> dict[str, str]:
    found = [(room, p.stem) for room in ROOMS for p in (BENCHES / room).glob("[a-z]*.py")]
    return {stem.replace("_", "-"): f"benches.{room}.{stem}" for room, stem in found}


def missing_keys(name: str) -> list[str]:
    """Say which promised keys the figures of `name` lack; all of them if there is no file."""
    path = RESULTS / f"{name}.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    return [key for key in KEYS if key not in figures]


def main(arguments: list[str]) -> int:
    """Run the benchmark named first in `arguments` and return the exit code."""
    if not arguments or arguments[0] not in names():
        asked = f"no benchmark is named {arguments[0]}" if arguments else "NAME is missing"
        print(f"error: {asked}\n  fix: make bench NAME=...  one of: {', '.join(names()) or 'none'}")
        return 2
    name, *rest = arguments
    (RESULTS / f"{name}.json").unlink(missing_ok=True)
    code = int(importlib.import_module(_modules()[name]).main(rest))
    if code == 0 and (missing := missing_keys(name)):
        print(f"error: {RESULTS / name}.json lacks {', '.join(missing)}")
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
