"""What the example promises."""

from postalynk.policy.testing import Attempt, Hooks, Message, Pools, at


def test_bulk_has_its_own_pool(hooks: Hooks) -> None:
    pools = Pools.fake("default", "high", "bulk")
    assert hooks.route(Message.fake(priority="bulk"), pools, at("12:00")).pool == "bulk"


def test_a_code_is_given_up_soon(hooks: Hooks) -> None:
    urgent = Attempt.fake(delivery=Message.fake(priority="high"))
    assert hooks.retry(urgent).max_age_s == 900
    assert hooks.retry(Attempt.fake()).max_age_s == 3 * 86_400
