"""Test doubles of what hooks read; a test of a policy needs no engine."""

import math
from dataclasses import dataclass, field


@dataclass
class Org:
    id: str = "org_1"
    plan: str = "standard"


@dataclass
class Rcpt:
    address: str = "ada@example.org"
    domain: str = "example.org"
    site: str = "example.org"
    provider: str = ""
    suppression_age_s: float = math.inf


@dataclass
class Msg:
    """Satisfies `postalynk.policy.Message`."""

    id: str = "m1"
    org: Org = field(default_factory=Org)
    priority: str = "normal"
    lane: str = "normal"
    tags: dict[str, str] = field(default_factory=dict)
    template: str = ""
    sender: str = "bounce@example.com"
    sender_domain: str = "example.com"
    rcpt: Rcpt = field(default_factory=Rcpt)
    size_bytes: int = 1_000
    attempt: int = 1
    age_s: float = 0.0
    last_reply: str = ""


@dataclass
class Tried:
    """Satisfies `postalynk.policy.Attempt`."""

    delivery: Msg = field(default_factory=Msg)
    kind: str = "deferred"
    attempt: int = 1
    code: int = 451
    enhanced: str = "4.7.1"
    reply: str = "try later"
    class_: str = "other"
    first_attempt_at_us: int = 0
    at_us: int = 0
