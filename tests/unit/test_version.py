"""One version: Cargo.toml says it, the package repeats it."""

import tomllib
from pathlib import Path

import postalynk

CARGO = Path(__file__).resolve().parents[2] / "Cargo.toml"


def test_the_package_has_the_workspace_version() -> None:
    cargo = tomllib.loads(CARGO.read_text())
    assert postalynk.__version__ == cargo["workspace"]["package"]["version"]
