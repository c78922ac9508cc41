"""The values of ``email.config``: one JSON object a key, with a version, unknown fields kept.

Keys: ``org/ID``, ``key/PREFIX``, ``domain/NAME``, ``pool/NAME``, ``source/NAME``, ``template/ID``,
``policy/VERSION``, ``in-force/policy``, and ``suppression/ORG/ADDRESS`` (`suppressions`); all in
partition 0. A field this release does not know (a
newer one wrote it) survives every rewrite: `encode` lays the new fields over the old object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from postalynk.errors import ControlError
from postalynk.model import InDoubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postalynk.queue.protocol import Queue

TOPIC = "email.config"
PARTITION = 0
"""All control state is one partition: it is small, and one order of changes is worth more."""

PAGE = 1000
KEPT_POLICIES = 5
"""Bundles to go back to, the one in force among them."""

IN_FORCE = "policy"
"""The one name of a `PolicyInForce`."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """What every value has."""

    version: int = 1
    created_at_us: int = 0


class Organization(Value, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    name: str
    plan: str = "standard"
    in_doubt: InDoubt = "retry"
    salt: int = 1
    """Over how many hash slots its records are spread, by recipient."""


class ApiKey(Value, frozen=True, kw_only=True):
    """A bearer key: its lookup prefix and the SHA-256 of the whole token, in hexadecimal."""

    prefix: str
    org: str
    sha256: str
    revoked_at_us: int = 0
    """0: in force. A revoked key stays, so that its prefix is never given out again."""


KeyState = Literal["waiting", "signing", "retiring", "retired"]
"""See `postalynk.control.rotation`."""


class DkimKey(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key of a domain."""

    selector: str
    algorithm: str
    """``rsa`` or ``ed25519``."""
    sealed: str
    """PKCS#8 DER, sealed with the master key; see `postalynk.control.secrets`. Empty: destroyed."""
    record: str
    """The TXT record that publishes it (RFC 6376 section 3.6.1)."""
    state: KeyState = "signing"
    since_us: int = 0
    """When it came into that state; 0: with its domain."""
    shown_since_us: int = 0
    """While it waits: since when each look at DNS has found its record; 0: the last did not."""


class Domain(Value, frozen=True, kw_only=True):
    """A sender domain (A-label, lower case) and the organization it belongs to."""

    name: str
    org: str
    keys: list[DkimKey]


class Source(Value, frozen=True, kw_only=True):
    """An egress source; empty: the system chooses the address, the settings the EHLO name."""

    name: str
    ip: str = ""
    ehlo: str = ""
    relay: str = ""
    """The relay it leaves by, without its login; see `postalynk.control.relays`."""
    sealed_relay: str = ""
    """The whole URL, sealed with the master key, where it has a login."""


class Pool(Value, frozen=True, kw_only=True):
    """Sources with their weights."""

    name: str
    sources: dict[str, int]


class Template(Value, frozen=True, kw_only=True):
    """A stored template of an organization: sources, and defaults of the message's fields."""

    id: str
    """A UUID."""
    org: str
    name: str
    revision: int = 1
    """Counts the changes; an accepted message keeps the sources of its own."""
    subject: str = ""
    html: str = ""
    text: str = ""
    sender: str = ""
    reply_to: list[str] = []
    updated_at_us: int = 0


class DeployedPolicy(Value, frozen=True, kw_only=True):
    """A policy bundle under its content hash."""

    policy: str
    """The bundle's version."""
    files: dict[str, bytes]
    """Code and tables by name; base64 in the JSON."""


class PolicyInForce(Value, frozen=True, kw_only=True):
    """Which bundle is in force, and which are kept to go back to."""

    current: str
    """A version of `kept`; empty: the policy of ``policy.path``."""
    kept: list[str]
    """In the order they were deployed, the oldest first."""
    canary: str = ""
    """A version of `kept` that decides for some organizations; empty: none is on trial."""
    canary_share: float = 0.0
    """Of the organizations, 0 to 1."""
    canary_since_us: int = 0
    """When its trial began."""
    ended: str = ""
    """How the trial before ended, in words."""


V = TypeVar("V", bound=Value)

PREFIXES: dict[type[Value], str] = {
    Organization: "org/",
    ApiKey: "key/",
    Domain: "domain/",
    Pool: "pool/",
    Source: "source/",
    Template: "template/",
    DeployedPolicy: "policy/",
    PolicyInForce: "in-force/",
}


def key_of(value: Value) -> bytes:
    """The key in ``email.config`` under which a value stands."""
    name = value.id if isinstance(value, (Organization, Template)) else ""
    if isinstance(value, ApiKey):
        name = value.prefix
    elif isinstance(value, (Domain, Pool, Source)):
        name = value.name
    elif isinstance(value, DeployedPolicy):
        name = value.policy
    elif isinstance(value, PolicyInForce):
        name = IN_FORCE
    return (PREFIXES[type(value)] + name).encode()


def encode(value: Value, previous: bytes | None = None) -> bytes:
    """JSON of the value, laid over what stood there before."""
    tree: dict[str, Any] = {}
    if previous is not None:
        tree = msgspec.json.decode(previous, type=dict[str, Any])
    tree.update(msgspec.to_builtins(value))
    return msgspec.json.encode(tree)


def decode(kind: type[V], key: bytes, value: bytes) -> V:
    """A value read back. Raises ControlError naming the key when it is not one."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError as error:
        raise ControlError(
            f"{TOPIC} holds an unreadable value under {key.decode(errors='replace')}: {error}",
            fix="restore it from a backup, or upgrade if a newer release wrote it",
        ) from error


def pairs(queue: Queue, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What ``email.config`` holds under keys that begin so, in their order."""
    # Of a copy that follows the broker only this waits until it holds all that is stored now.
    queue.get(TOPIC, PARTITION, [prefix])
    after = prefix
    while page := queue.compacted(TOPIC, PARTITION, after, PAGE):
        for key, raw in page:
            if not key.startswith(prefix):
                return
            yield key, raw
        after = page[-1][0]


def kept_policies(deployed: list[str], in_force: str) -> tuple[list[str], list[str]]:
    """The versions to keep, in order of their last deployment, and those that go."""
    newest = deployed[-1]
    kept = [known for known in deployed[:-1] if known != newest] + [newest]
    gone: list[str] = []
    while len(kept) > KEPT_POLICIES:
        # Never what decides now, and never the candidate.
        old = next(known for known in kept if known not in (in_force, newest))
        kept.remove(old)
        gone.append(old)
    return kept, gone
