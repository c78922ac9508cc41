"""Deliveries as the log recorded them: what a policy was asked about, asked again.

**Model.** A record of ``email.send.*`` holds everything `postalynk.policy.Message` shows except
what DNS said: the site is that of the domain's newest attempt, where there was one, else the
provider's, else the domain. A delivery is asked about as for its first attempt, at the moment its
message was accepted.
**Not here.** Content: no policy reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postalynk.routing.native import RoutingRecord


class RecordedOrganization(msgspec.Struct, frozen=True):
    """Satisfies `postalynk.policy.Organization`."""

    id: str
    plan: str


class RecordedRecipient(msgspec.Struct, frozen=True):
    """Satisfies `postalynk.policy.Recipient`."""

    address: str
    domain: str
    site: str
    provider: str


class RecordedMessage(msgspec.Struct, frozen=True):
    """Satisfies `postalynk.policy.Message`."""

    id: str
    org: RecordedOrganization
    priority: str
    lane: str
    tags: dict[str, str]
    sender: str
    sender_domain: str
    rcpt: RecordedRecipient
    size_bytes: int
    accepted_at_us: int
    attempt: int = 1
    age_s: float = 0.0
    last_reply: str = ""


def deliveries(record: RoutingRecord, sites: Mapping[str, str]) -> Iterator[RecordedMessage]:
    """The deliveries of one record, in order; ``sites``: domain → site."""
    id_, org, plan, lane, tags, sender, recipients, size_bytes, accepted_at_us = record
    whose = RecordedOrganization(org, plan)
    sender_domain = sender.rpartition("@")[2]
    for address, domain, known in recipients:
        site = sites.get(domain) or known or domain
        # A provider's site has its name; every other one is a domain and has a dot.
        provider = known or ("" if "." in site else site)
        yield RecordedMessage(
            id_,
            whose,
            lane,
            lane,
            tags,
            sender,
            sender_domain,
            RecordedRecipient(address, domain, site, provider),
            size_bytes,
            accepted_at_us,
        )
