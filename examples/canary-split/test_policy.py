"""What the example promises."""

from postalynk.policy import Split
from postalynk.policy.testing import Hooks, Message, Pools, at
from postalynk.routing import Resolver

POOLS = Pools.fake("default", "canary")


def test_without_the_pool_there_is_no_experiment(hooks: Hooks) -> None:
    assert hooks.route(Message.fake(), Pools.fake("default"), at("12:00")).pool == "default"


def test_one_in_twenty(hooks: Hooks) -> None:
    answer = hooks.route(Message.fake(), POOLS, at("12:00"))
    assert isinstance(answer.pool, Split)
    many = [Message.fake(org=f"org_{number}") for number in range(4_000)]
    resolved = Resolver(hooks.policies).resolve(many, POOLS, at("12:00"))
    drawn = [resolved.routes[choice][0] for choice in resolved.choice].count("canary")
    # Binomial: 200 expected, a standard deviation is 13.8.
    assert 140 < drawn < 260
