"""How many decisions a second a replay takes, on one core.

Ours: a replay of the shipped policy against itself over 100,000 recorded deliveries, from the
decoded record to the table; a decision is one policy asked about one delivery, so each counts
twice. Theirs: the bare `route` on the same deliveries, twice. Checked: nothing changes.
"""

import time
from random import Random

from benches.report import Report, Round
from postalynk.policy import DEFAULT, Now, Pools, load
from postalynk.routing import Replay, deliveries
from postalynk.routing.native import RoutingRecord

RECORDS = 20_000
RECIPIENTS = 5
PAGE = 2_000
ROUNDS = 5
DOMAINS = (("gmail.com", "google"), ("outlook.com", "outlook"), ("example.org", ""))
MINUTE_US = 60_000_000


def records() -> list[RoutingRecord]:
    """A day of messages, in order of acceptance."""
    chance = Random(7)
    made: list[RoutingRecord] = []
    for number in range(RECORDS):
        chosen = [chance.choice(DOMAINS) for _ in range(RECIPIENTS)]
        recipients = [(f"ada@{domain}", domain, provider) for domain, provider in chosen]
        lane = chance.choice(("high", "normal", "bulk"))
        at_us = number * 1_440 // RECORDS * MINUTE_US
        made.append(
            (f"m{number}", f"org_{number % 100}", "standard", lane, {}, "", "a@example.com",
             recipients, 1_000, at_us)
        )  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    """Measure; no arguments."""
    del arguments
    policies, pools = load(DEFAULT), Pools(["default", "high", "majors"])
    route, recorded = policies.route.function, records()
    rounds, cpu = [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        replay = Replay(policies, policies, pools)
        for first in range(0, RECORDS, PAGE):
            page = recorded[first : first + PAGE]
            replay.add(delivery for record in page for delivery in deliveries(record, {}))
        replayed = replay.result()
        between = time.process_time()
        assert (replayed.deliveries, replayed.changed) == (RECORDS * RECIPIENTS, 0)
        bare = [delivery for record in recorded for delivery in deliveries(record, {})]
        start, now = time.process_time(), Now(0)
        for delivery in bare:
            route(delivery, pools, now)
            route(delivery, pools, now)
        ended = time.process_time()
        decisions = 2 * RECORDS * RECIPIENTS
        cpu.append((between - began) / decisions * 1e6)
        rounds.append(Round(decisions / (between - began), decisions / (ended - start)))
    report = Report("policy-replay", "decisions/s", rounds, sorted(cpu)[ROUNDS // 2])
    report.write()
    print(f"{report.as_json()['ours']:,.0f} decisions/s")
    return 0
