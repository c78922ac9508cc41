"""Deliveries as the log recorded them: what a policy was asked about, asked again.

**Model.** A record of ``email.send.*`` holds everything `postalynk.policy.Message` shows except
what DNS said: the site is that of the domain's newest attempt, where there was one, else the
provider's, else the domain. A delivery is asked about as for its first attempt, at the moment its
message was accepted.
**Not here.** Content: no policy reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.policy.views import MessageView, OrganizationView, RecipientView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postalynk.routing.native import RoutingRecord


class RecordedMessage(MessageView, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Message`, and knows when it was asked about."""

    accepted_at_us: int = 0
    """Microseconds since the Unix epoch."""


def deliveries(record: RoutingRecord, sites: Mapping[str, str]) -> Iterator[RecordedMessage]:
    """The deliveries of one record, in order; ``sites``: domain → site."""
    id_, org, plan, lane, tags, template, sender, recipients, size_bytes, accepted_at_us = record
    whose = OrganizationView(org, plan)
    sender_domain = sender.rpartition("@")[2]
    for address, domain, known in recipients:
        site = sites.get(domain) or known or domain
        # A provider's site has its name; every other one is a domain and has a dot.
        provider = known or ("" if "." in site else site)
        rcpt = RecipientView(address, domain, site, provider)
        yield RecordedMessage(
            id_, whose, lane, lane, tags, template, sender, sender_domain, rcpt, size_bytes,
            accepted_at_us=accepted_at_us,
        )  # fmt: skip
