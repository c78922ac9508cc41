"""Measuring one function beside another: short interleaved rounds of processor time.

`time.process_time` counts this process only, so what else runs on the machine lengthens a round but
not its figure.
"""

import re
import subprocess
import time
from collections.abc import Callable

from benches.report import Round

ROUNDS = 7
SLICE_S = 0.25


def rate(work: Callable[[], object], slice_s: float = SLICE_S) -> float:
    """How often `work` runs in a second of processor time, over about `slice_s` seconds."""
    times, step = 0, 1
    began = time.process_time()
    while (spent := time.process_time() - began) < slice_s:
        for _ in range(step):
            work()
        times += step
        step = min(step * 2, 256)
    return times / spent


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS
) -> list[Round]:
    """Both sides in turn, after one call each that is not counted."""
    ours(), theirs()
    return [Round(ours=rate(ours), theirs=rate(theirs)) for _ in range(rounds)]


def openssl_rsa_per_second() -> float:
    """RSA-2048 signatures a second on one core, by ``openssl speed`` (its own processor time)."""
    command = ["openssl", "speed", "-seconds", "1", "rsa2048"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = re.findall(r"rsa 2048 bits\s+\S+s\s+\S+s\s+([\d.]+)", done.stdout)
    return float(rows[-1])
