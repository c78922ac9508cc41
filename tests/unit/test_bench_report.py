"""The figures of a benchmark: promised keys, and a ratio made of the rounds' own ratios."""

import json
from pathlib import Path

import pytest

from benches import report, run


def test_a_report_has_every_promised_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    assert run.missing_keys("probe") == list(report.KEYS), "no file, no figures"

    rounds = [report.Round(12, 1), report.Round(32, 2), report.Round(20, 4)]
    path = report.Report("probe", "messages/s", rounds, more={"note": "x"}).write()

    assert run.missing_keys("probe") == []
    figures = json.loads(path.read_text())
    assert figures["ours"] == 20
    assert figures["theirs"] == 2
    assert figures["ratio"] == 12, "the median of 12, 16 and 5, not 20 / 2"
    assert figures["note"] == "x"


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["no-such"]) == 2
    assert "no-such" in capsys.readouterr().out


def test_every_room_is_searched() -> None:
    assert {"first-light", "mime", "prepare"} <= set(run.names())
