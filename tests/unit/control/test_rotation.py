"""Rotation of signing keys, whatever DNS says and whenever it is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from postalynk.control.rotation import Waits, advance, is_pending, with_new_keys
from postalynk.control.values import DkimKey, Domain

WAITS = Waits(settle_us=10, retire_us=100)
ALGORITHMS = ("rsa", "ed25519")


def new_keys(first: int) -> list[DkimKey]:
    return [
        DkimKey(selector=f"pl{first + n}", algorithm=a, sealed="secret", record="")
        for n, a in enumerate(ALGORITHMS)
    ]


def domain() -> Domain:
    return Domain(name="example.com", org="org_1", keys=new_keys(1))


def states(found: Domain) -> dict[str, str]:
    return {key.selector: key.state for key in found.keys}


def seen(found: Domain, *selectors: str) -> dict[str, bool]:
    """A look at a DNS that shows these and answers about all."""
    return {key.selector: key.selector in selectors for key in found.keys}


def test_a_rotation_from_its_beginning_to_its_end() -> None:
    now = domain()
    assert not is_pending(now)
    now = with_new_keys(now, new_keys(3), 0)
    assert states(now) == dict.fromkeys(("pl1", "pl2"), "signing") | dict.fromkeys(
        ("pl3", "pl4"), "waiting"
    )
    # One record alone is not enough; both must have been shown for the time of settling.
    now = advance(now, seen(now, "pl1", "pl2", "pl3"), WAITS, 5)
    now = advance(now, seen(now, "pl1", "pl2", "pl3", "pl4"), WAITS, 15)
    assert states(now)["pl3"] == "waiting"
    now = advance(now, seen(now, "pl1", "pl2", "pl3", "pl4"), WAITS, 24)
    assert states(now)["pl3"] == "waiting"
    now = advance(now, seen(now, "pl1", "pl2", "pl3", "pl4"), WAITS, 25)
    assert states(now) == dict.fromkeys(("pl1", "pl2"), "retiring") | dict.fromkeys(
        ("pl3", "pl4"), "signing"
    )
    # Whatever DNS does then, the old ones are kept for the time of retiring, and then destroyed.
    now = advance(now, seen(now), WAITS, 124)
    assert states(now)["pl1"] == "retiring"
    now = advance(now, seen(now, "pl1", "pl2", "pl3", "pl4"), WAITS, 125)
    assert states(now)["pl1"] == "retired"
    assert [key.sealed for key in now.keys] == ["", "", "secret", "secret"]
    now = advance(now, seen(now, "pl2", "pl3", "pl4"), WAITS, 126)
    assert list(states(now)) == ["pl2", "pl3", "pl4"]
    now = advance(now, seen(now, "pl3", "pl4"), WAITS, 127)
    assert states(now) == {"pl3": "signing", "pl4": "signing"}
    assert not is_pending(now)


def test_a_record_that_vanishes_begins_its_wait_anew() -> None:
    now = with_new_keys(domain(), new_keys(3), 0)
    now = advance(now, seen(now, "pl3", "pl4"), WAITS, 1)
    now = advance(now, seen(now, "pl3"), WAITS, 50)
    now = advance(now, seen(now, "pl3", "pl4"), WAITS, 60)
    assert states(now)["pl3"] == "waiting"
    now = advance(now, seen(now, "pl3", "pl4"), WAITS, 70)
    assert states(now)["pl3"] == "signing"


def test_no_answer_changes_nothing() -> None:
    now = with_new_keys(domain(), new_keys(3), 0)
    now = advance(now, seen(now, "pl3", "pl4"), WAITS, 1)
    assert advance(now, {}, WAITS, 1_000) is now
    assert advance(now, {"pl3": True}, WAITS, 1_000) is now


@dataclass
class World:
    """A domain, what DNS has, and what was seen of both."""

    domain: Domain = field(default_factory=domain)
    now_us: int = 0
    last_signed_us: dict[str, int] = field(default_factory=dict)
    made: int = 2

    def step(self, shown: dict[str, bool], elapsed_us: int, *, rotate: bool) -> None:
        before = {k.selector for k in self.domain.keys if k.state == "signing"}
        self.now_us += elapsed_us
        self.last_signed_us |= dict.fromkeys(before, self.now_us)
        if rotate and all(key.state != "waiting" for key in self.domain.keys):
            self.domain = with_new_keys(self.domain, new_keys(self.made + 1), self.now_us)
            self.made += 2
        self.domain = advance(self.domain, shown, WAITS, self.now_us)
        after = {k.selector for k in self.domain.keys if k.state == "signing"}
        # Only what DNS shows begins to sign.
        assert all(shown.get(selector) for selector in after - before)
        # Nothing goes unsigned.
        signing = [k.algorithm for k in self.domain.keys if k.state == "signing"]
        assert sorted(signing) == sorted(ALGORITHMS)
        # A key outlives its mail.
        kept = {key.selector for key in self.domain.keys if key.sealed}
        for selector, at_us in self.last_signed_us.items():
            assert selector in kept or self.now_us - at_us >= WAITS.retire_us


steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from([f"pl{n}" for n in range(1, 9)]), st.booleans()),
        st.integers(0, 60),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


@given(steps=steps)
def test_law_rotation_is_without_a_gap(
    steps: list[tuple[dict[str, bool], int, bool, bool]],
) -> None:
    """Law `rotation_is_without_a_gap`: what `World.step` asserts.

    Looks that see everything are drawn often, so that rotations come to their end.
    """
    world = World()
    for shown, elapsed_us, is_all, rotate in steps:
        everything = {key.selector: True for key in world.domain.keys}
        everything |= {f"pl{n}": True for n in range(world.made + 1, world.made + 3)}
        world.step(everything if is_all else shown, elapsed_us, rotate=rotate)
