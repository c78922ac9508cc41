"""The comparison of topics as they should be with topics as they are."""

from __future__ import annotations

import msgspec

from postalynk.queue.kafka.topics import Report, State, compare, plans
from postalynk.settings import Queue

PLANS = plans(Queue(url="kafka://a:1", partitions=64))
AS_PLANNED = {plan.topic: State(plan.partitions, plan.replicas, plan.config) for plan in PLANS}


def test_what_is_as_it_should_be_is_left_alone() -> None:
    assert compare(PLANS, AS_PLANNED) == []


def test_values_nobody_planned_are_the_operators() -> None:
    found = {
        topic: State(state.partitions, state.replicas, {**state.config, "retention.bytes": "1"})
        for topic, state in AS_PLANNED.items()
    }
    assert compare(PLANS, found) == []


def test_a_missing_topic_is_created() -> None:
    found = {topic: state for topic, state in AS_PLANNED.items() if topic != "email.dlq"}
    (finding,) = compare(PLANS, found)
    assert (finding.topic, finding.action) == ("email.dlq", "create")
    assert finding.should == "64 partitions on 3 brokers"


def test_partitions_are_never_taken_away_and_grown_by_another_command() -> None:
    for partitions, word in ((128, "never taken away"), (32, "topics grow 64")):
        config = AS_PLANNED["email.events"].config
        found = AS_PLANNED | {"email.events": State(partitions, 3, config)}
        (finding,) = compare(PLANS, found)
        assert (finding.key, finding.action) == ("partitions", "refuse")
        assert word in finding.reason
        assert Report(False, 9, [finding]).is_refused


def test_a_value_that_drifted_is_set_and_copies_are_not_moved() -> None:
    state = AS_PLANNED["email.deferred"]
    found = AS_PLANNED | {
        "email.deferred": State(64, 2, {**state.config, "cleanup.policy": "delete"})
    }
    findings = compare(PLANS, found)
    assert [(f.key, f.is_, f.should, f.action) for f in findings] == [
        ("replicas", "2", "3", "refuse"),
        ("cleanup.policy", "delete", "compact", "set"),
    ]
    assert msgspec.to_builtins(findings[0])["is"] == "2"


def test_the_order_of_two_policies_says_nothing() -> None:
    state = AS_PLANNED["email.idempotency"]
    found = AS_PLANNED | {
        "email.idempotency": State(64, 3, {**state.config, "cleanup.policy": "delete,compact"})
    }
    assert compare(PLANS, found) == []


def test_dead_letters_are_kept_a_month_and_tables_are_compacted() -> None:
    by_topic = {plan.topic: plan.config for plan in PLANS}
    assert by_topic["email.dlq"]["retention.ms"] == str(30 * 86_400_000)
    assert by_topic["email.events"]["retention.ms"] == str(7 * 86_400_000)
    for table in ("email.deferred", "email.config", "email.scheduled"):
        assert by_topic[table]["cleanup.policy"] == "compact"
