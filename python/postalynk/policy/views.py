"""What hooks read, as plain frozen values, where no engine is: each satisfies its protocol.

**Model.** The protocols of `surface` say what an author may read. The engine's own objects satisfy
them while mail is routed; these values do everywhere else: at the door, where a record is asked
about again, in a simulation, and in an author's tests (`postalynk.policy.testing` adds ``fake``).
They have the attributes of the protocol and no more, so reading one that the engine's object has
not is an AttributeError here as it would be in the worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

# Millions are made in a replay, and none can be part of a cycle: the collector need not look.


class OrganizationView(msgspec.Struct, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Organization`."""

    id: str
    plan: str


class RecipientView(msgspec.Struct, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Recipient`."""

    address: str
    domain: str
    site: str
    provider: str
    suppression_age_s: float = math.inf
    """Where only the log is known, no list is."""


class MessageView(msgspec.Struct, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Message`."""

    id: str
    org: OrganizationView
    priority: str
    lane: str
    tags: Mapping[str, str]
    template: str
    sender: str
    sender_domain: str
    rcpt: RecipientView
    size_bytes: int
    attempt: int = 1
    age_s: float = 0.0
    last_reply: str = ""


class IncomingView(msgspec.Struct, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Incoming`."""

    org: OrganizationView
    priority: str
    tags: Mapping[str, str]
    template: str
    sender: str
    sender_domain: str
    recipients: Sequence[str]
    domains: Sequence[str]
    subject: str
    attachments: int
    size_bytes: int
    channel: str


class PathView(msgspec.Struct, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Path`."""

    source: str
    site: str
    provider: str


class SourceView(msgspec.Struct, frozen=True, gc=False):
    """Satisfies `postalynk.policy.Source`."""

    name: str
    pools: Sequence[str]
    provider: str
