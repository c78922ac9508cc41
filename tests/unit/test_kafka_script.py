"""`scripts/kafka`: what it refuses before it starts anything."""

import subprocess
from pathlib import Path

from tests.support.kafka import SCRIPT


def test_a_cluster_keeps_its_number_of_nodes(tmp_path: Path) -> None:
    """A quorum of three is none of one: its brokers would never agree, and `up` never end."""
    for node in "123":
        (tmp_path / node).mkdir()
        (tmp_path / node / "server.properties").touch()
    command: list[str | Path] = [SCRIPT, "up", "--nodes", "1", "--state", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "was made with 3 nodes, not 1" in done.stderr
    assert f"rm -r {tmp_path}" in done.stderr


def test_status_says_what_is_down(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "server.properties").touch()
    command: list[str | Path] = [SCRIPT, "status", "--state", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, "node 1  down\nno broker runs\n")
