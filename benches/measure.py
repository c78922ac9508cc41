"""What every load benchmark measures with: CPU of process trees and the RSA rate of the machine.

CPU is read from ``/proc``: user and system time of every live process of a tree, plus that of its
children already reaped, so workers that come and go are counted.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

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


def part(
    benchmark: str, name: str, base: Path, count: int, *, exit_status: int = 0
) -> dict[str, float]:
    """One part of a load benchmark in a process of its own, and what its last line tells (JSON)."""
    command = [sys.executable, "-m", f"benches.load.{benchmark}", "--part", name]
    done = subprocess.run(
        [*command, "--base", str(base), "--count", str(count)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == exit_status, f"{benchmark} {name} ended with {done.returncode}"
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return told
