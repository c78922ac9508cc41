"""`make bench NAME=smtp-paths`: the memory of 100,000 paths that have sent and now wait.

A whole engine sends one message from each of 1,000 sources to each of 100 sites, every site with
its MX host in DNS, and closes its connections. Ours and theirs are paths per gibibyte, theirs at
the bar of 4 KB a path: there is no other program to compare with.
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path
from statistics import median

from benches.load._smtp import Bars, program, sink
from benches.load._smtp import client as run
from benches.report import Report, Round
from tests.support.processes import Dns

SITES, BAR, STRETCH = 100, 4_096, 2_048
GIB = 1 << 30


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="smtp-paths")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sources", type=int, default=1_000)
    options = parser.parse_args(arguments)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rounds = []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory, sink(Path(directory)) as to:
        zone = [f"site{n}.example MX 10 mx.site{n}.example" for n in range(SITES)]
        zone += [f"mx.site{n}.example A 127.0.0.1" for n in range(SITES)]
        dns = Dns(Path(directory), zone, "127.0.0.1:0")
        try:
            for number in range(options.rounds):
                command = [program(), "paths", "--dns", dns.address, "--port", str(to.port)]
                given = ["--sources", str(options.sources), "--sites", str(SITES)]
                figures = json.loads(run([*command, *given])[0])
                rounds.append(figures)
                print(f"round {number + 1}: {figures}", file=sys.stderr)
        finally:
            dns.stop()
    each = median(r["bytes_per_path"] for r in rounds)
    bars = Bars()
    bars.most("bytes_per_path", each, BAR, STRETCH)
    bars.print()
    report = Report(
        name="smtp-paths",
        unit="idle paths per GiB",
        rounds=[Round(GIB / r["bytes_per_path"], GIB / BAR) for r in rounds],
        more={"bytes_per_path": each, "paths": rounds[0]["paths"], "bars": bars.rows},
    )
    print(report.write())
    return 0
