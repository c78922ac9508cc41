"""What `postalynk trace` can follow, and what it says where there is nothing to follow."""

from typing import Any

from postalynk.cli.trace import MOST_SITES, standing
from postalynk.service.following import sites_of


def path(site: str, hosts: str, connections: int) -> dict[str, Any]:
    return {"site": site, "hosts": hosts, "connections": connections}


SNAPSHOT = {
    "sites": {"google": 7, "new.example": 2},
    "paths": [
        path("google", "10 mx1.google.example,20 mx2.google.example", 1),
        path("google", "10 mx1.google.example,20 mx2.google.example tls verify", 2),
        path("yahoo", "1 mta.yahoo.example sts enforce *.yahoo.example", 0),
        path("[::1]:2525", "[::1]:2525", 3),
    ],
}


def test_paths_of_a_site_are_one() -> None:
    assert sites_of(SNAPSHOT) == {
        "google": {
            "hosts": ["mx1.google.example", "mx2.google.example"],
            "connections": 3,
            "waiting": 7,
        },
        "new.example": {"hosts": [], "connections": 0, "waiting": 2},
        "yahoo": {"hosts": ["mta.yahoo.example"], "connections": 0, "waiting": 0},
        "[::1]:2525": {"hosts": ["::1"], "connections": 3, "waiting": 0},
    }


def test_what_is_followed_is_counted() -> None:
    sites = sites_of(SNAPSHOT)
    assert standing(sites, "") == "all sites: sessions open: 6, deliveries waiting: 9"
    google = "sessions open: 3, deliveries waiting: 7"
    assert standing(sites, "google") == f"google: {google}"
    assert standing(sites, "mx2.google.example") == f"mx2.google.example: {google}"
    assert standing(sites, "yahoo") == "yahoo: sessions open: 0, deliveries waiting: 0"
    assert standing(sites, "new.example").endswith("open: 0, deliveries waiting: 2")


def test_what_is_not_there_is_said_with_what_is() -> None:
    said = standing(sites_of(SNAPSHOT), "gogle")
    assert said.startswith("gogle: sessions open: 0, deliveries waiting: 0; no mail is on its way")
    assert said.endswith("Sites with open sessions: [::1]:2525, google")
    assert standing({}, "gogle").endswith("Sites with open sessions: none")
    many = {f"s{n}": {"hosts": [], "connections": n, "waiting": 0} for n in range(1, 14)}
    assert standing(many, "gogle").endswith(
        f"s13, {', '.join(f's{n}' for n in range(12, 3, -1))} and {13 - MOST_SITES} more"
    )
