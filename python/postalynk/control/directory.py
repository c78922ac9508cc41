"""What is so right now: an immutable snapshot of ``email.config``, swapped as a whole.

**Invariants.** A snapshot never changes; readers take the reference once and never lock. A writer
builds the next one and swaps it with one assignment, which the interpreter makes atomic.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from postalynk.control import api_keys, relays
from postalynk.control.domains import place
from postalynk.control.secrets import Secrets
from postalynk.control.values import (
    IN_FORCE,
    PREFIXES,
    ApiKey,
    DeployedPolicy,
    Domain,
    Organization,
    PolicyInForce,
    Pool,
    Source,
    Template,
    Value,
    decode,
    key_of,
    pairs,
)

if TYPE_CHECKING:
    from postalynk.queue.protocol import Queue

V = TypeVar("V", bound=Value)

DEFAULT_SOURCES = (Source(name="default"),)
DEFAULT_POOLS = tuple(
    Pool(name=name, sources={"default": 1}) for name in ("default", "high", "majors")
)
"""The pools of the shipped policy, so that it works before an operator has set any."""


class Grant(msgspec.Struct, frozen=True):
    """What a bearer key allows: to act for one organization."""

    organization: Organization
    key_prefix: str


class Snapshot(msgspec.Struct, frozen=True):
    """Control state at one moment, by name."""

    organizations: Mapping[str, Organization]
    api_keys: Mapping[str, ApiKey]
    domains: Mapping[str, Domain]
    pools: Mapping[str, Pool]
    sources: Mapping[str, Source]
    templates: Mapping[str, Template]
    policies: Mapping[str, DeployedPolicy]
    in_force: PolicyInForce


class Directory:
    """Answers from the newest snapshot; safe to share between threads."""

    def __init__(self, secrets: Secrets) -> None:
        """``secrets`` opens the signing keys for `signers`."""
        self._secrets = secrets
        self._values: dict[bytes, Value] = {}
        self._snapshot = _build({})

    def load(self, queue: Queue) -> None:
        """Read all of ``email.config``; raises ControlError on an unreadable value."""
        values: dict[bytes, Value] = {}
        # By kind: what else is there is a newer release's concern, or too much for a snapshot.
        for kind, prefix in PREFIXES.items():
            for key, raw in pairs(queue, prefix.encode()):
                values[key] = decode(kind, key, raw)
        self._swap(values)

    def put(self, changes: Mapping[bytes, Value | None]) -> None:
        """Swap in a snapshot with these values changed (None: gone), after they became durable."""
        values = dict(self._values)
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._swap(values)

    def _swap(self, values: dict[bytes, Value]) -> None:
        self._values = values
        self._snapshot = _build(values)

    @property
    def snapshot(self) -> Snapshot:
        """All of it, at one moment."""
        return self._snapshot

    def grant(self, token: str) -> Grant | None:
        """The organization a bearer token stands for; None when it proves nothing."""
        snapshot = self._snapshot
        key = api_keys.find(snapshot.api_keys, token)
        organization = snapshot.organizations.get(key.org) if key is not None else None
        if key is None or organization is None:
            return None
        return Grant(organization, key.prefix)

    def organization(self, org: str) -> Organization | None:
        """An organization by its id."""
        return self._snapshot.organizations.get(org)

    def organizations(self) -> list[Organization]:
        """All, by id."""
        return sorted(self._snapshot.organizations.values(), key=lambda o: o.id)

    def keys(self, org: str) -> list[ApiKey]:
        """An organization's API keys, revoked ones included, oldest first."""
        owned = [k for k in self._snapshot.api_keys.values() if k.org == org]
        return sorted(owned, key=lambda k: (k.created_at_us, k.prefix))

    def domain(self, name: str) -> Domain | None:
        """A sender domain by its A-label."""
        return self._snapshot.domains.get(name)

    def domains(self, org: str | None = None) -> list[Domain]:
        """An organization's domains, or all, by name."""
        found = [d for d in self._snapshot.domains.values() if org is None or d.org == org]
        return sorted(found, key=lambda d: d.name)

    def template(self, id_: str) -> Template | None:
        """A stored template by its id, whosever it is."""
        return self._snapshot.templates.get(id_)

    def templates(self, org: str) -> list[Template]:
        """An organization's templates, the newest first."""
        owned = [t for t in self._snapshot.templates.values() if t.org == org]
        return sorted(owned, key=lambda t: (t.created_at_us, t.id), reverse=True)

    def pools(self) -> list[Pool]:
        """All pools by name, the defaults included."""
        return sorted(self._snapshot.pools.values(), key=lambda p: p.name)

    def members(self) -> dict[str, list[str]]:
        """Pool → the sources that mail leaves by: those with a weight, by name."""
        pools = {pool.name: pool.sources for pool in self.pools()}
        return {name: sorted(s for s, n in given.items() if n) for name, given in pools.items()}

    def sources(self) -> list[Source]:
        """All egress sources by name, the default included."""
        return sorted(self._snapshot.sources.values(), key=lambda s: s.name)

    def deployed_policy(self) -> DeployedPolicy | None:
        """The policy bundle in force; None: that of ``policy.path``."""
        snapshot = self._snapshot
        return snapshot.policies.get(snapshot.in_force.current)

    def egress_json(self) -> str:
        """Pools and sources in the form `postalynk._engine.Engine.configure` takes.

        Secret where a relay has a login: hand it on, never log or keep it.
        """
        tree = {
            "sources": [
                {"name": s.name, "ip": s.ip, "ehlo": s.ehlo, "relay": self._relay(s)}
                for s in self.sources()
            ],
            "pools": [{"name": p.name, "sources": p.sources} for p in self.pools()],
        }
        return msgspec.json.encode(tree).decode()

    def _relay(self, source: Source) -> str:
        if not source.sealed_relay:
            return source.relay
        return self._secrets.unseal(source.sealed_relay, relays.place(source.name)).decode()

    def signers(self) -> list[tuple[str, str, str, bytes]]:
        """(domain, selector, algorithm, PKCS#8 DER) of keys that sign, for ``Engine.set_signers``.

        Secret: hand it on, never log or keep it. Raises ControlError when the master key is not
        the one the keys were sealed with.
        """
        return [
            (
                domain.name,
                key.selector,
                key.algorithm,
                self._secrets.unseal(key.sealed, place(domain.name, key.selector)),
            )
            for domain in self.domains()
            for key in domain.keys
            if key.state == "signing"
        ]


def _build(values: Mapping[bytes, Value]) -> Snapshot:
    defaults: dict[bytes, Value] = {key_of(v): v for v in (*DEFAULT_SOURCES, *DEFAULT_POOLS)}
    merged = defaults | dict(values)
    return Snapshot(
        organizations=_of(Organization, merged),
        api_keys=_of(ApiKey, merged),
        domains=_of(Domain, merged),
        pools=_of(Pool, merged),
        sources=_of(Source, merged),
        templates=_of(Template, merged),
        policies=_of(DeployedPolicy, merged),
        in_force=_of(PolicyInForce, merged).get(IN_FORCE, PolicyInForce(current="", kept=[])),
    )


def _of(kind: type[V], values: Mapping[bytes, Value]) -> Mapping[str, V]:
    cut = len(PREFIXES[kind])
    found = {key[cut:].decode(): v for key, v in values.items() if isinstance(v, kind)}
    return MappingProxyType(found)
