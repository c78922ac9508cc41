"""The examples in a policy's docstrings: what it says it answers, checked.

**Model.** An example is a doctest (``>>> route(Message.fake(provider="google"), Pools.fake(),
at("12:00")).pool`` and below it the answer). It sees the file's own names and those of
`postalynk.policy.testing`, which win: in an example, ``Message`` is the one that has ``fake``. It
runs against the policy as loaded, frozen.
"""

from __future__ import annotations

import doctest
import sys
from typing import TYPE_CHECKING, NamedTuple

from postalynk.policy.testing.doubles import (
    Attempt,
    Incoming,
    Message,
    Path,
    Pools,
    Source,
    at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postalynk.policy.load import Policies

NAMES = {
    "Attempt": Attempt,
    "Incoming": Incoming,
    "Message": Message,
    "Path": Path,
    "Pools": Pools,
    "Source": Source,
    "at": at,
}


class Example(NamedTuple):
    """The examples of one docstring, and how they went: ``example.failure == ""``."""

    place: str
    """``policy.py:31``, the first of them."""
    name: str
    """Whose docstring it is: ``policy.route``."""
    tried: int
    """How many lines were run."""
    failure: str
    """What was expected and what came; empty: all as written."""


def run_examples(policies: Policies) -> Iterator[Example]:
    """Run every example of the policy's own files, in order: ``run_examples(load("policy/"))``."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in policies.modules:
        stem = module.__name__.rpartition(".")[2]
        # No `module`: a function is found by where it stands, not by what it calls itself.
        found = finder.find(module, stem, globs={**vars(module), **NAMES})
        for test in sorted(found, key=lambda test: test.lineno or 0):
            if test.examples:
                yield _run(test, stem)


def _run(test: doctest.DocTest, stem: str) -> Example:
    said: list[str] = []
    stdout = sys.stdout
    try:
        result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    finally:
        sys.stdout = stdout
    line = (test.lineno or 0) + test.examples[0].lineno + 1
    failure = "".join(said).strip() if result.failed else ""
    return Example(f"{stem}.py:{line}", test.name, result.attempted, failure)
