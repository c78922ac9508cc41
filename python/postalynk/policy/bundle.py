"""`Bundle`: the bytes of one policy, code and tables, under their content hash.

**Model.** A bundle is file names with their bytes, in order of name; where it came from does not
matter. A directory is read into one; `email.config` holds others. What is loaded, deployed and
compared is always a bundle, so what was checked is what runs.
**Law `version`.** Two bundles have the same version if, and only if, names and bytes are the same.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from postalynk.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES = (".toml", ".csv", ".json")
MAX_BYTES = 512 << 10
"""A policy larger than this is a database: the queue keeps it in one record."""


class Bundle(NamedTuple):
    """Code and tables of one policy: ``read_bundle("policy/").version``."""

    directory: Path
    """Where it was read, or a name in its place; error messages and tracebacks show it."""
    content: Mapping[str, bytes]
    """By file name, in order."""

    @property
    def version(self) -> str:
        """12 hexadecimal digits of the SHA-256 of code and tables."""
        return version_of(self.content)

    @property
    def sources(self) -> dict[str, bytes]:
        """The Python files."""
        return {name: data for name, data in self.content.items() if name.endswith(".py")}

    def path(self, name: str) -> str:
        """What tracebacks call the file ``name``."""
        return str(self.directory / name)


def is_test(name: str) -> bool:
    """Whether a file of this name is a test beside the policy, and no part of it."""
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def read_bundle(directory: Path | str) -> Bundle:
    """Read a policy directory: ``read_bundle("policy/")``.

    Raises PolicyError when that cannot be, or it is no policy.
    """
    directory = Path(directory).resolve()
    content = {}
    try:
        for path in sorted(directory.iterdir()):
            name = path.name
            if path.suffix in (".py", *TABLES) and not is_test(name) and path.is_file():
                content[name] = path.read_bytes()
    except OSError as error:
        raise PolicyError(
            f"cannot read the policy {error.filename or directory}: {error.strerror}",
            fix="check policy.path",
        ) from error
    return made_of(content, directory)


def made_of(content: Mapping[str, bytes], directory: Path) -> Bundle:
    """A bundle of these files: ``made_of({"policy.py": b"…"}, Path("policy"))``.

    Raises PolicyError when they are no policy.
    """
    bundle = Bundle(directory, dict(sorted(content.items())))
    for name in bundle.sources:
        if not name.removesuffix(".py").isidentifier():
            raise PolicyError(
                f"{name}:1: no name for a module", fix="rename it: letters, digits, _"
            )
    if not bundle.sources:
        raise PolicyError(f"{directory} holds no policy", fix="put a policy.py there")
    if (size := sum(map(len, content.values()))) > MAX_BYTES:
        raise PolicyError(
            f"{directory} has {size} bytes of code and tables", fix=f"keep it to {MAX_BYTES}"
        )
    return bundle


def version_of(content: Mapping[str, bytes]) -> str:
    """The content hash of these files, which are in order of name."""
    digest = hashlib.sha256()
    for name, data in content.items():
        # Lengths first: no two directories run together into the same bytes.
        digest.update(f"{len(name.encode())}:{name}{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:12]
