"""What the example promises."""

from datetime import UTC, datetime

from postalynk.policy.testing import Hooks, Message, Pools, at

BULK = Message.fake(priority="bulk")


def test_the_weekend_waits_for_monday(hooks: Hooks) -> None:
    monday = datetime(2026, 1, 12, 7, tzinfo=UTC)
    for saturday_or_sunday in ("2026-01-10 13:37", "2026-01-11 23:00"):
        answer = hooks.route(BULK, Pools.fake(), at(saturday_or_sunday))
        assert answer.not_before == monday


def test_by_day_it_goes_at_once(hooks: Hooks) -> None:
    assert hooks.route(BULK, Pools.fake(), at("12:00")).not_before is None
    assert hooks.route(Message.fake(), Pools.fake(), at("23:00")).not_before is None
