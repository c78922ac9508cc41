"""What the example promises."""

from postalynk.policy.testing import Hooks, Message, Pools, at

POOLS = Pools.fake("default", "gmail-tuned", "microsoft-tuned")


def test_a_hosted_domain_counts_as_its_provider(hooks: Hooks) -> None:
    hosted = Message.fake(to="ada@company.example", provider="office365")
    assert hooks.route(hosted, POOLS, at("12:00")).pool == "microsoft-tuned"


def test_others_take_the_default(hooks: Hooks) -> None:
    assert hooks.route(Message.fake(), POOLS, at("12:00")).pool == "default"
