"""The pytest plugin: the fixture `hooks`, and the examples of a policy's docstrings as tests.

Installed with Postalynk, so ``pytest policy/`` needs no configuration. A file is looked at when
pytest looks at it, is no test and has a hook's decorator; its whole directory is then loaded as a
worker loads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postalynk.errors import PolicyError
from postalynk.policy.bundle import is_test
from postalynk.policy.load import load
from postalynk.policy.testing.examples import Example, run_examples
from postalynk.policy.testing.hooks import Hooks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def hooks(request: pytest.FixtureRequest) -> Hooks:
    """The policy beside the test: ``hooks.route(msg, pools, now)``; frozen, so loaded once."""
    return Hooks(load(request.path.parent))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a file of a policy that has examples."""
    if file_path.suffix != ".py" or is_test(file_path.name):
        return None
    text = file_path.read_text(errors="replace")
    if "@policy." not in text or ">>> " not in text:
        return None
    return _PolicyFile.from_parent(parent, path=file_path)


class _PolicyFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        try:
            policies = load(self.path.parent)
        except PolicyError as error:
            raise self.CollectError(str(error)) from error
        for example in run_examples(policies):
            if example.place.partition(":")[0] == self.path.name:
                yield _ExampleItem.from_parent(self, name=example.name, example=example)


class _ExampleItem(pytest.Item):
    def __init__(self, *, example: Example, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.example = example

    def runtest(self) -> None:
        """Report what collecting found: an example is pure, so when it ran does not matter."""
        if self.example.failure:
            raise AssertionError(self.example.failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: object) -> str:
        """Doctest's own words; a traceback through it would say nothing."""
        return f"{self.example.place}: {excinfo.value}"

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the example stands."""
        line = int(self.example.place.rpartition(":")[2]) - 1
        return self.path, line, f"example of {self.example.name}"
