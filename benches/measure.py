"""What every load benchmark measures with: CPU of process trees, medians, the result file.

CPU is read from ``/proc``: user and system time of every live process of a tree, plus that of its
children already reaped, so workers that come and go are counted.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    return parents


def tree(roots: Iterable[int]) -> set[int]:
    """The processes and all their descendants that live now."""
    parents = _parents()
    members = set(roots)
    grew = True
    while grew:
        found = {pid for pid, parent in parents.items() if parent in members} - members
        grew = bool(found)
        members |= found
    return members


def cpu_us(roots: Iterable[int]) -> float:
    """Microseconds of CPU the trees have used so far, reaped children included."""
    ticks = 0
    for pid in tree(roots):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks * _TICK_US


def rsa_per_second(seconds: int = 2) -> float:
    """RSA-2048 signatures a second on both cores at once, by ``openssl speed``."""
    cores = os.cpu_count() or 1
    command = ["openssl", "speed", "-seconds", str(seconds), "-multi", str(cores), "rsa2048"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # "rsa 2048 bits 0.000664s 0.000019s   1507.0  53236.5": the last line sums the cores.
    rows = re.findall(r"rsa 2048 bits\s+\S+s\s+\S+s\s+([\d.]+)", done.stdout)
    return float(rows[-1])


def machine() -> dict[str, Any]:
    """What a reader must know of the machine to compare figures."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", cpu)
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "avx512_ifma": "avx512ifma" in cpu,
        "kernel": platform.release(),
    }


def median(values: Iterable[float]) -> float:
    """The median, as a float."""
    return float(statistics.median(values))


def save(name: str, result: dict[str, Any]) -> Path:
    """Write ``build/bench/NAME.json`` and print it."""
    path = Path("build/bench") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    complete = {"name": name, **result, "machine": machine(), "at": int(time.time())}
    path.write_text(json.dumps(complete, indent=2) + "\n")
    print(path.read_text())
    return path
