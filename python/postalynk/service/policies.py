"""Deployed policies: between the control socket, ``email.config`` and the worker.

**Model.** ``email.config`` holds bundles and says which one is in force; without one it is the
policy of ``policy.path``, as it was when the process started. A change is durable, then every
worker takes the loaded version at its next batch: `Parts.policies` is one reference, a batch
reads it once, so no batch is routed by a mix of versions. A canary is part of that one reference:
each organization has one version, and each delivery names it.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postalynk.errors import ControlError, PolicyError
from postalynk.observability import get_logger
from postalynk.policy import Bundle, Canary, Policies, load_bundle, made_of

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
        self._refused = ""

    def in_force(self, directory: Directory) -> Policies:
        """The policy to route by; raises PolicyError when this release cannot load it."""
        snapshot = directory.snapshot
        deployed, before = directory.deployed_policy(), self._loaded
        version = deployed.policy if deployed is not None else self._configured.version
        if before is None or before.version != version:
            found = self._configured if deployed is None else load_bundle(bundle_of(deployed))
            if before is not None:
                log.info("the policy was swapped", before=before.version, version=version)
            self._loaded = before = found
        canary = self._canary(snapshot.policies.get(snapshot.in_force.canary), before.canary)
        share = snapshot.in_force.canary_share
        is_same = canary is (before.canary.policies if before.canary else None)
        if not is_same or (before.canary and before.canary.share != share):
            self._loaded = before = before.beside(Canary(canary, share) if canary else None)
            log.info("canary", version=canary.version if canary else "", share=share)
        return before

    def _canary(self, deployed: DeployedPolicy | None, before: Canary | None) -> Policies | None:
        """The candidate; None, and an error in the log, when this release cannot load it."""
        if deployed is None:
            return None
        if before is not None and before.policies.version == deployed.policy:
            return before.policies
        try:
            return load_bundle(bundle_of(deployed))
        except PolicyError as error:
            if self._refused != deployed.policy:
                self._refused = deployed.policy
                log.error("the canary cannot be loaded", version=deployed.policy, error=str(error))
            return None


def bundle_of(deployed: DeployedPolicy) -> Bundle:
    """The bundle that was deployed; in tracebacks it stands in a directory of its version."""
    return made_of(deployed.files, Path(f"policy-{deployed.policy}"))


def listed(directory: Directory) -> dict[str, Any]:
    """``{"in_force", "canary", "ended", "deployed": [{"version", "deployed_at", "files"}]}``.

    The oldest first; ``canary``: ``{"version", "share", "since"}`` or None; ``ended``: how the
    trial before ended, in words.
    """
    snapshot = directory.snapshot
    in_force = snapshot.in_force
    rows = [snapshot.policies[known] for known in snapshot.in_force.kept]
    return {
        "in_force": in_force.current,
        "canary": {
            "version": in_force.canary,
            "share": in_force.canary_share,
            "since": _time(in_force.canary_since_us),
        }
        if in_force.canary
        else None,
        "ended": in_force.ended,
        "deployed": [
            {
                "version": row.policy,
                "deployed_at": _time(row.created_at_us),
                "files": sorted(row.files),
            }
            for row in rows
        ],
    }


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()


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
