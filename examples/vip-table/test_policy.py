"""What the example promises."""

from postalynk.policy.testing import Hooks, Message, Pools, at


def test_a_vip_has_its_pool(hooks: Hooks) -> None:
    answer = hooks.route(Message.fake(org="org_acme"), Pools.fake("default", "vip-1"), at("12:00"))
    assert (answer.pool, answer.fallback) == ("vip-1", ("default",))


def test_others_take_the_default(hooks: Hooks) -> None:
    assert hooks.route(Message.fake(), Pools.fake(), at("12:00")).pool == "default"
