from hypothesis import given

from postalynk.policy import PathState
from postalynk.policy.testing import Hooks, Message, Path, Pools, Source, at, messages

NOON = at("12:00")
ACME = Message.fake(org="org_42")


def test_their_own_pool_first(hooks: Hooks) -> None:
    answer = hooks.route(ACME, Pools.fake("shared", "acme"), NOON)
    assert (answer.pool, list(answer.fallback)) == ("acme", ["shared"])


def test_others_take_the_shared_one(hooks: Hooks) -> None:
    assert hooks.route(Message.fake(), Pools.fake("shared", "acme"), NOON).pool == "shared"


def test_a_pool_that_is_shut_overflows(hooks: Hooks) -> None:
    answer = hooks.route(ACME, Pools.fake("shared", "acme", shut=["acme"]), NOON)
    assert (answer.pool, list(answer.fallback)) == ("shared", ["acme"])


def test_a_long_queue_overflows(hooks: Hooks) -> None:
    busy = PathState("acme", "example.org", True, 5, 6_001, 10.0, 10.0)
    pools = Pools({"shared": ("shared",), "acme": ("acme",)}, lambda: [busy])
    assert hooks.route(ACME, pools, NOON).reason == "its own queue is long"


def test_mail_for_dedicated_addresses_only_waits(hooks: Hooks) -> None:
    only = Message.fake(org="org_42", tags={"only": "dedicated"})
    answer = hooks.route(only, Pools.fake("shared", "acme", shut=["acme"]), NOON)
    assert (answer.pool, list(answer.fallback)) == ("acme", [])


def test_a_new_address_is_warmed_up(hooks: Hooks) -> None:
    plan = hooks.warmup(Source.fake("acme-2"), NOON)
    assert plan is not None
    assert (plan.today(at("2026-03-01 09:00")), plan.overflow) == (200, "shared")
    assert hooks.warmup(Source.fake("acme-1"), NOON) is None
    assert hooks.shape(Path.fake(source="acme-2")).connections == 2


@given(msg=messages(orgs=["org_42", "org_1"]))
def test_every_message_has_a_pool(hooks: Hooks, msg: Message) -> None:
    assert hooks.route(msg, Pools.fake("shared", "acme"), NOON).pool in {"shared", "acme"}
