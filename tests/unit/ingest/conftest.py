"""One service a test."""

from __future__ import annotations

import pytest

from tests.unit.ingest.service import Service


@pytest.fixture
def service() -> Service:
    return Service()
