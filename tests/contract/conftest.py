"""Every test of this directory runs over every backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postalynk.queue.protocol import Queue
from tests.contract.backends import BACKENDS, Backend, Open


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture
def place(backend: Backend) -> Iterator[Open]:
    """A place to open the queue at, as often as a test restarts it."""
    with backend.place() as opened:
        yield opened


@pytest.fixture
def queue(place: Open) -> Iterator[Queue]:
    """An empty queue, open."""
    queue = place()
    yield queue
    queue.close()
