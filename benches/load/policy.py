"""How much Python a routed delivery costs, beside the bare function on plain dataclasses.

Ours: `Resolver.resolve` over batches of 500 with the shipped policy, from message to route number.
Theirs: the shipped `route` called on the same messages, its answer thrown away. Both run in one
process and take turns. Checked: every delivery has a route, and no policy failed.
"""

import time
from random import Random

from benches.report import Report, Round
from postalynk.policy import DEFAULT, Now, load
from postalynk.policy.testing import Message, Pools
from postalynk.routing import Resolver

BATCH = 500
BATCHES = 40
ROUNDS = 9


def messages(seed: int) -> list[Message]:
    """A batch: a fifth urgent, two fifths to the majors."""
    chance = Random(seed)
    return [
        Message.fake(
            id=f"m{number}",
            org=f"org_{chance.randrange(100)}",
            priority=chance.choice(("high", "normal", "normal", "normal", "bulk")),
            provider=chance.choice(("google", "outlook", "", "", "")),
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
    report = Report("policy", "decisions/s", rounds, sorted(cpu)[ROUNDS // 2])
    figures = report.as_json()
    report.write()
    print(
        f"{figures['cpu_us_per_message']:.2f} us a delivery, "
        f"{1 / figures['ratio']:.2f} times the bare function"
    )
    return 0
