"""`policy simulate`: what it reads, what it refuses, and both ways it answers."""

import json
from pathlib import Path

import pytest

from postalynk.cli.app import Common
from postalynk.cli.policy import simulate
from postalynk.cli.policy_simulate import read
from postalynk.errors import ControlError

TRAFFIC = {
    "flows": [{"message": {"provider": "google"}, "rate": "120/h", "orgs": 3}],
    "pools": {"majors": {"mta-1": 1}, "default": {"mta-1": 1}},
}
SHIPPED = Path(__file__).parents[3] / "python/postalynk/policy/default"


@pytest.fixture
def traffic(tmp_path: Path) -> Path:
    path = tmp_path / "traffic.json"
    path.write_text(json.dumps(TRAFFIC))
    return path


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"flows": [{}]}', '{"flows": [{"rate": "many"}]}', '{"flow": []}',
     '{"flows": [{"rate": "1/s", "message": {"colour": "red"}}]}'],
)  # fmt: skip
def test_what_is_no_traffic_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ControlError, match="describes no traffic"):
        read(tmp_path / "t.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="No such file"):
        read(tmp_path / "t.json")


def test_both_answers(traffic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(SHIPPED, traffic=traffic, hours=2, common=Common(json=True))
    told = json.loads(capsys.readouterr().out)
    assert (told["arrived"], told["sent"], told["waiting"], told["failures"]) == (240, 240, 0, 0)
    (path,) = told["paths"]
    assert (path["source"], path["site"], path["per_hour"]) == ("mta-1", "google", [120, 120])
    simulate(SHIPPED, traffic=traffic, hours=2, common=Common())
    shown = capsys.readouterr().out
    assert "mta-1" in shown
    assert "Of 240 deliveries 240 were sent in 2 hours" in shown


@pytest.mark.parametrize(("hours", "start"), [(0, "2026-01-05 00:00"), (1, "noon")])
def test_no_time_is_refused(traffic: Path, hours: int, start: str) -> None:
    with pytest.raises(ControlError):
        simulate(SHIPPED, traffic=traffic, hours=hours, start=start)
