"""What `postalynk trace` can follow now: the sites that have a path, from the engine's snapshot."""

import re
from typing import Any


def sites_of(snapshot: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By site, or the smart host as ``host:port``: its hosts, connections (opening ones too) and
    deliveries waiting.
    """
    sites: dict[str, dict[str, Any]] = {
        site: {"hosts": [], "connections": 0, "waiting": waiting}
        for site, waiting in snapshot["sites"].items()
    }
    for path in snapshot["paths"]:
        known = sites.setdefault(path["site"], {"hosts": [], "connections": 0, "waiting": 0})
        known["connections"] += path["connections"]
        known["hosts"] += [host for host in hosts_of(path["hosts"]) if host not in known["hosts"]]
    return sites


def hosts_of(path: str) -> list[str]:
    """The names in ``10 mx.example,20 mx2.example`` and what may follow, or in ``host:port``."""
    if found := re.findall(r"(?:^|,)\d+ ([^ ,]+)", path):
        return found
    return [path.rpartition(":")[0].strip("[]")]
