"""What every benchmark leaves behind: one file of figures, with the same keys for all.

The keys are a contract with whoever reads ``build/bench/NAME.json``. A benchmark may add figures
(``more``); it may not leave one of these out. ``ours`` and ``theirs`` are medians over the rounds,
``ratio`` is the median of the rounds' own ratios: both sides of a round ran on the same minute of
the same machine, so what slowed one slowed the other.
"""

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "build" / "bench"
KEYS = ("name", "ours", "theirs", "ratio", "unit", "rounds", "cpu_us_per_message", "machine")


@dataclass(frozen=True, slots=True)
class Round:
    """One interleaved round: both sides measured in turn, in the report's unit, more is better."""

    ours: float
    theirs: float


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one benchmark.

    `cpu_us_per_message` is the processor time of our whole side in microseconds, or None where a
    message is not what is counted.
    """

    name: str
    unit: str
    rounds: list[Round]
    cpu_us_per_message: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the figures under the promised keys, the additional ones after them."""
        return {
            "name": self.name,
            "ours": median(r.ours for r in self.rounds),
            "theirs": median(r.theirs for r in self.rounds),
            "ratio": median(r.ours / r.theirs for r in self.rounds),
            "unit": self.unit,
            "rounds": [{"ours": r.ours, "theirs": r.theirs} for r in self.rounds],
            "cpu_us_per_message": self.cpu_us_per_message,
            "machine": machine(),
            **self.more,
        }

    def write(self) -> Path:
        """Write ``build/bench/NAME.json`` and return its path."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")
        return path


def machine() -> dict[str, str | int | bool]:
    """Describe this machine by what changes a figure."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2] for line in cpuinfo.splitlines() if "model name" in line]
    return {
        "cpu": models[0].strip() if models else platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        # RSA is most of the work of a signed message, and these instructions halve it.
        "avx512_ifma": "avx512ifma" in cpuinfo,
    }
