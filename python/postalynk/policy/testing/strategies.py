"""Strategies for hypothesis: any delivery, any pools, any instant, any failure.

    @given(msg=messages(), now=moments())
    def test_every_message_has_a_pool(hooks, msg, now):
        assert hooks.route(msg, Pools.fake(), now).pool

hypothesis is imported when a strategy is made, so that `fake` and `at` need nothing installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from postalynk.policy.moment import Now
from postalynk.policy.testing.doubles import PROVIDERS, Attempt, Message, Pools, Priority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy

CLASSES: Sequence[str] = (
    "rate", "reputation", "authentication", "mailbox", "policy", "transport", "dns", "other",
)  # fmt: skip
"""The engine's words for kinds of trouble."""

# RFC 3463: what receivers really answer, by class.
_REPLIES: Sequence[str] = (
    "",
    "421 Service not available",
    "421 4.7.28 Too much mail from this address",
    "450 4.2.1 Mailbox busy",
    "451 4.3.0 Local error",
    "451 4.7.1 Try again later",
    "452 4.2.2 Mailbox full",
    "454 4.7.0 TLS not available",
)
_YEAR_US = 366 * 86_400 * 1_000_000


def messages(*, orgs: Sequence[str] = ("org_test", "org_other")) -> SearchStrategy[Message]:
    """Any delivery, of one of these organizations: ``@given(msg=messages(orgs=["org_42"]))``."""
    from hypothesis import strategies as st

    word = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
    return st.builds(
        Message.fake,
        id=st.uuids().map(str),
        org=st.sampled_from(orgs),
        plan=st.sampled_from(["standard", "dedicated", ""]),
        priority=st.sampled_from(get_args(Priority)),
        tags=st.dictionaries(word, word, max_size=3),
        template=st.sampled_from(["", "tmpl_welcome"]),
        to=st.one_of(st.just(""), word.map(lambda local: f"{local}@example.org")),
        provider=st.sampled_from(["", *PROVIDERS]),
        # Up to 40 MB, beyond what most receivers take.
        size_bytes=st.integers(1, 40_000_000),
        attempt=st.integers(1, 40),
        age_s=st.floats(0, 5 * 86_400),
        last_reply=st.sampled_from(_REPLIES),
        suppression_age_s=st.one_of(st.just(math.inf), st.floats(0, 400 * 86_400)),
    )


def pools(*always: str) -> SearchStrategy[Pools]:
    """Any pools that hold ``always`` (left out: ``default``)."""
    from hypothesis import strategies as st

    more = st.sets(st.sampled_from(["high", "majors", "low", "canary", "large", "dedicated"]))
    return more.map(lambda names: Pools(names | set(always or ("default",))))


def moments() -> SearchStrategy[Now]:
    """Any instant of 56 years from 1970, to the microsecond: ``@given(now=moments())``."""
    from hypothesis import strategies as st

    return st.integers(0, 56 * _YEAR_US).map(Now)


def replies() -> SearchStrategy[Attempt]:
    """Any failed attempt that may be repeated: ``@given(attempt=replies())``.

    It has a 4yz reply, or none because the link broke.
    """
    from hypothesis import strategies as st

    return st.builds(
        Attempt.fake,
        st.sampled_from(_REPLIES),
        class_=st.sampled_from(CLASSES),
        kind=st.sampled_from(["deferred", "in_doubt"]),
        attempt=st.integers(1, 40),
        delivery=messages(),
        now=moments(),
    )
