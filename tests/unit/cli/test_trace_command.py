"""``postalynk trace`` draws what it is told, until its lines are over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from postalynk.cli import trace  # noqa: F401 - it registers its command
from postalynk.cli.app import run
from postalynk.service.client import Client
from tests.unit.cli import answers

if TYPE_CHECKING:
    import pytest


def test_a_trace_is_followed_and_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {
        "at_us": answers.NOW_US,
        "session": 7,
        "site": "google",
        "source": "mta1",
        "mx": "mx.example",
        "text": f"0.001 S: 220 {answers.HOSTILE}",
    }
    asked: list[tuple[str, dict[str, Any]]] = []
    said = {
        "trace_open": 3,
        "trace_read": {"lines": [line], "lost": 2},
        "trace_sites": {"google": {"hosts": [], "connections": 2, "waiting": 5}},
        "trace_close": None,
    }

    def call(_: Any, name: str, arguments: dict[str, Any], **options: Any) -> Any:
        asked.append((name, arguments))
        return said[name]

    monkeypatch.setattr(Client, "call", call)
    assert run(["trace", "--site", "google", "--lines", "2"]) == 0
    drawn = capsys.readouterr()
    assert drawn.out.count("#7 mta1→mx.example  0.001 S: 220") == 2
    assert not any(ord(char) < 32 and char != "\n" for char in drawn.out)
    assert "2 lines were missed" in drawn.err
    assert drawn.err.count("(google: sessions open: 2, deliveries waiting: 5)") == 1
    assert asked[0] == ("trace_open", {"site": "google"})
    assert asked[-1] == ("trace_close", {"trace": 3})
    assert run(["trace", "--lines", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == line
