"""How much Python a routed delivery costs, beside the bare function on plain dataclasses.

Ours: `Resolver.resolve` over batches of 500 with the shipped policy, from message to route number.
Theirs: the shipped `route` called on the same messages, its answer thrown away. Both run in one
process and take turns. Checked: every delivery has a route, and no policy failed. Beside it:
``unsampled_us``, what choosing samples costs a delivery, and ``explained_us``, what a chosen one
costs (one in 1,000 is by default).
"""

import time
from random import Random

from benches.report import Report, Round
from postalynk.policy import DEFAULT, Now, load
from postalynk.policy.testing import Pools
from postalynk.routing import Resolver, explain
from postalynk.worker.explaining import Sampler
from tests.unit.doubles import Msg, Org, Rcpt

BATCH = 500
BATCHES = 40
ROUNDS = 9


def messages(seed: int) -> list[Msg]:
    """A batch: a fifth urgent, two fifths to the majors."""
    chance = Random(seed)
    return [
        Msg(
            id=f"m{number}",
            org=Org(f"org_{chance.randrange(100)}"),
            priority=chance.choice(("high", "normal", "normal", "normal", "bulk")),
            rcpt=Rcpt(provider=chance.choice(("google", "outlook", "", "", ""))),
        )
        for number in range(BATCH)
    ]


def main(arguments: list[str]) -> int:
    """Measure; no arguments."""
    del arguments
    policies, pools, now = load(DEFAULT), Pools.fake(), Now(0)
    resolver, route = Resolver(policies), policies.route.function
    batches = [messages(seed) for seed in range(BATCHES)]
    rounds, cpu = [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        for batch in batches:
            resolved = resolver.resolve(batch, pools, now)
            assert len(resolved.choice) == BATCH
            assert not resolved.faults
        between = time.process_time()
        for batch in batches:
            for message in batch:
                route(message, pools, now)
        ended = time.process_time()
        decisions = BATCH * BATCHES
        cpu.append((between - began) / decisions * 1e6)
        rounds.append(Round(decisions / (between - began), decisions / (ended - between)))
    sampler = Sampler(1_000, frozenset())
    began = time.process_time()
    sampled = sum(len(list(sampler.places(batch))) for batch in batches)
    between = time.process_time()
    for batch in batches:
        explain(policies, batch[0], pools, now)
    explaining = time.process_time() - between
    assert sampled == BATCH * BATCHES // 1_000
    more = {
        "unsampled_us": (between - began) / (BATCH * BATCHES) * 1e6,
        "explained_us": explaining / BATCHES * 1e6,
    }
    report = Report("policy", "decisions/s", rounds, sorted(cpu)[ROUNDS // 2], more)
    figures = report.as_json()
    report.write()
    print(
        f"{figures['cpu_us_per_message']:.2f} us a delivery, "
        f"{1 / figures['ratio']:.2f} times the bare function"
    )
    return 0
