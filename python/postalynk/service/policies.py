"""Deployed policies: between the control socket, ``email.config`` and the worker.

**Model.** ``email.config`` holds bundles and says which one is in force; without one it is the
policy of ``policy.path``, as it was when the process started. A change is durable, then every
worker takes the loaded version at its next batch: `Parts.policies` is one reference, a batch
reads it once, so no batch is routed by a mix of versions.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postalynk.errors import ControlError
from postalynk.observability import get_logger
from postalynk.policy import Bundle, Policies, load_bundle, made_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postalynk.control.directory import Directory
    from postalynk.control.values import DeployedPolicy

log = get_logger(__name__)


class PolicySwitch:
    """Loads what is in force, once per change of it."""

    def __init__(self, configured: Policies) -> None:
        """``configured``: the policy while none is deployed."""
        self._configured = configured
        self._loaded: Policies | None = None

    def in_force(self, directory: Directory) -> Policies:
        """The policy to route by; raises PolicyError when this release cannot load it."""
        deployed = directory.deployed_policy()
        version = deployed.policy if deployed is not None else self._configured.version
        if self._loaded is None or self._loaded.version != version:
            found = self._configured if deployed is None else load_bundle(bundle_of(deployed))
            if self._loaded is not None:
                log.info("the policy was swapped", before=self._loaded.version, version=version)
            self._loaded = found
        return self._loaded


def bundle_of(deployed: DeployedPolicy) -> Bundle:
    """The bundle that was deployed; in tracebacks it stands in a directory of its version."""
    return made_of(deployed.files, Path(f"policy-{deployed.policy}"))


def listed(directory: Directory) -> dict[str, Any]:
    """``{"in_force", "deployed": [{"version", "deployed_at", "files"}]}``, the oldest first."""
    snapshot = directory.snapshot
    rows = [snapshot.policies[known] for known in snapshot.in_force.kept]
    return {
        "in_force": snapshot.in_force.current,
        "deployed": [
            {
                "version": row.policy,
                "deployed_at": datetime.fromtimestamp(row.created_at_us / 1e6, UTC).isoformat(),
                "files": sorted(row.files),
            }
            for row in rows
        ],
    }


def deployed(directory: Directory, version: str | None) -> Bundle:
    """A kept bundle by its version, the one in force when none is named."""
    snapshot = directory.snapshot
    found = snapshot.policies.get(version or snapshot.in_force.current)
    if found is None:
        what = f"the policy {version[:40]!r} is not kept" if version else "no policy is deployed"
        raise ControlError(what, fix="postalynk policy list")
    return bundle_of(found)


def sent(bundle: Bundle) -> dict[str, str]:
    """The files of a bundle as JSON carries them."""
    return {name: base64.b64encode(data).decode() for name, data in bundle.content.items()}


def received(files: Mapping[str, str]) -> Bundle:
    """The bundle that was sent; raises PolicyError when it is none."""
    try:
        content = {name: base64.b64decode(data, validate=True) for name, data in files.items()}
    except ValueError as error:
        raise ControlError(f"a file is not in base64: {error}") from error
    return made_of(content, Path("policy"))
