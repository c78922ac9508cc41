"""What the example promises."""

from postalynk.policy import Set
from postalynk.policy.testing import Attempt, Hooks, Message, Pools, at

THEIRS = Message.fake(org="org_42", tags={"campaign": "spring"})


def test_they_have_their_own_rules(hooks: Hooks) -> None:
    answer = hooks.route(THEIRS, Pools.fake(), at("12:00"))
    assert (answer.pool, list(answer.headers)) == ("high", [Set("X-Campaign", "spring")])
    assert hooks.retry(Attempt.fake(delivery=THEIRS)).max_age_s == 4 * 3_600


def test_others_do_not(hooks: Hooks) -> None:
    assert hooks.route(Message.fake(), Pools.fake(), at("12:00")).pool == "default"
    assert hooks.retry(Attempt.fake()).max_age_s == 3 * 86_400
