"""What the example promises."""

from hypothesis import given

from postalynk.policy.testing import Attempt, Hooks, replies


def test_a_full_mailbox_has_days(hooks: Hooks) -> None:
    assert hooks.retry(Attempt.fake("452 4.2.2 Mailbox full")).max_age_s == 5 * 86_400


def test_a_broken_link_is_tried_soon(hooks: Hooks) -> None:
    assert hooks.retry(Attempt.fake("", class_="transport")).delays_s[0] == 30


@given(attempt=replies())
def test_a_rate_limit_is_always_respected(hooks: Hooks, attempt: Attempt) -> None:
    if attempt.class_ == "rate":
        assert hooks.retry(attempt).delays_s[0] >= 900
