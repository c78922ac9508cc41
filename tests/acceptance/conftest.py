"""Two running Postalynks for all stories: one that sends to Debian's Postfix, one to the sink.

A story that kills, freezes or fills something starts its own.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postfix import Receiver
from tests.support.processes import Postalynk, Sink, free_port

QUICK_RETRIES = """
from postalynk.policy import Attempt, Retry, policy

AGAIN = Retry("2s*5, 10s", max_age="1d", jitter=0)


@policy.retry
def retry(attempt: Attempt) -> Retry:
    return AGAIN
"""


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Debian's Postfix."""
    assert os.geteuid() == 0, "Debian's Postfix runs as root only: run the acceptance tests as root"
    # Not among pytest's own directories: each run that starts shuts them to Postfix's users again.
    with tempfile.TemporaryDirectory(prefix="postalynk-postfix-") as base:
        postfix = Receiver(Path(base), free_port())
        try:
            postfix.start()
            yield postfix
        finally:
            postfix.stop()


@pytest.fixture(scope="session")
def to_postfix(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """A Postalynk whose mail goes to Debian's Postfix; it may send from example.com."""
    target = Postalynk(tmp_path_factory.mktemp("to-postfix"), f"127.0.0.1:{receiver.port}")
    try:
        yield target.start().prepare()
    finally:
        target.remove()


@pytest.fixture(scope="session")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """The testkit's receiver, with its personalities."""
    started = Sink(tmp_path_factory.mktemp("sink"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def live(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """A Postalynk whose mail goes to the sink and is tried again within seconds."""
    target = Postalynk(tmp_path_factory.mktemp("live"), sink.address, policy=QUICK_RETRIES)
    try:
        yield target.start().prepare()
    finally:
        target.remove()
