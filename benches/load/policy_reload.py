"""What a reload costs the mail under way: how long a batch is away from the engine to be routed.

A worker on the embedded queue sends to a sink in this process. Ours: a new version of the shipped
policy is loaded and put in force ten times a second. Theirs: the same worker left alone. A figure
is one over the longest any batch of the round was away, so that more is better; ``worst_ms`` has
it in milliseconds over all rounds. Checked: every message is delivered, every batch was routed by
one version, and more than one version had a turn.
"""

import tempfile
import threading
import time
from pathlib import Path

from benches.report import Report, Round
from postalynk._engine import Sink
from postalynk.policy import DEFAULT, Policies, load, load_bundle, made_of, read_bundle
from tests.support.workers import Watched, mail, running

MESSAGES = 10_000
AT_ONCE = 500
ROUNDS = 5
RELOAD_EVERY_S = 0.1
POOLS = {name: ["s1"] for name in ("default", "high", "majors")}


def fresh(count: int) -> Policies:
    """The shipped policy as a version of its own."""
    content = dict(read_bundle(DEFAULT).content)
    content["policy.py"] += f"\n# {count}\n".encode()
    return load_bundle(made_of(content, Path("policy")))


def measure(*, is_reloading: bool) -> Watched:
    """One round: all messages, from the queue to the sink."""
    sink, ends = Sink(), threading.Event()
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch), sink, load(DEFAULT), POOLS) as run,
    ):

        def reload() -> None:
            count = 0
            while not ends.wait(RELOAD_EVERY_S):
                count += 1
                run.parts.policies = fresh(count)

        watched = run.watch()
        reloading = threading.Thread(target=reload)
        run.worker.start()
        if is_reloading:
            reloading.start()
        for first in range(0, MESSAGES, AT_ONCE):
            run.accept([mail(first + n, f"org_{n % 50}") for n in range(AT_ONCE)])
        while sink.received() < MESSAGES and not run.failures:
            time.sleep(0.01)
        ends.set()
        if is_reloading:
            reloading.join()
        assert run.worker.drain(30)
        assert sink.received() == MESSAGES
    sink.stop()
    assert all(len(by) == 1 for by in watched.batches), "a batch was routed by two versions"
    versions = {version for by in watched.batches for version in by}
    assert (len(versions) > 1) == is_reloading
    return watched


def main(arguments: list[str]) -> int:
    """Measure; no arguments."""
    del arguments
    rounds, ours, theirs = [], [], []
    for _ in range(ROUNDS):
        alone, reloaded = measure(is_reloading=False), measure(is_reloading=True)
        ours.append(reloaded.longest_s)
        theirs.append(alone.longest_s)
        rounds.append(Round(1 / reloaded.longest_s, 1 / alone.longest_s))
    worst, worst_alone = max(ours) * 1_000, max(theirs) * 1_000
    more = {"worst_ms": worst, "worst_ms_alone": worst_alone}
    Report("policy-reload", "1/s", rounds, None, more).write()
    print(f"the longest batch took {worst:.1f} ms with reloads, {worst_alone:.1f} ms alone")
    return 0
