"""An operator's changes: durable first, then visible, then announced.

**Invariants.** One change at a time (a lock that readers never take). A change that fails to become
durable is not visible. A listener that raises is logged and undoes nothing.
**Errors.** ControlError for requests that cannot be carried out, QueueError from the append.
"""

from __future__ import annotations

import ipaddress
import re
import secrets as entropy_source
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, get_args

import msgspec

from postalynk.control import api_keys, relays, templates
from postalynk.control.api_keys import NewKey
from postalynk.control.border import normal_domain
from postalynk.control.directory import Directory
from postalynk.control.domains import DomainSetup, make_keys, setup_of
from postalynk.control.rotation import DEFAULT_WAITS, Waits, advance, is_pending, with_new_keys
from postalynk.control.secrets import Secrets
from postalynk.control.suppressions import Suppressions
from postalynk.control.templates import TemplateFields
from postalynk.control.values import (
    PARTITION,
    TOPIC,
    ApiKey,
    DeployedPolicy,
    Domain,
    Organization,
    PolicyInForce,
    Pool,
    Source,
    Template,
    Value,
    encode,
    kept_policies,
    key_of,
)
from postalynk.errors import ControlError
from postalynk.model import InDoubt
from postalynk.observability import get_logger
from postalynk.policy import Bundle, load_bundle

if TYPE_CHECKING:
    from postalynk.queue.protocol import Queue

log = get_logger(__name__)

MAX_DOMAIN = 200
"""Octets: a Message-ID (36 of UUID, ``@``, the domain) must stay under 250 to be composable."""
MAX_WEIGHT, MAX_SALT = 1_000_000, 1_024

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_EHLO = re.compile(
    r"(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9-]{1,63})+"
)


def _now_us() -> int:
    return time.time_ns() // 1000


class Control:
    """The operator's side of a `Directory`; calls block for one durable append."""

    def __init__(
        self,
        queue: Queue,
        secrets: Secrets,
        *,
        waits: Waits = DEFAULT_WAITS,
        clock: Callable[[], int] = _now_us,
        entropy: Callable[[int], bytes] = entropy_source.token_bytes,
    ) -> None:
        """Loads `directory`. ``clock`` gives microseconds since the Unix epoch; ``waits``: between
        the states of a signing key.
        """
        self._waits = waits
        self._queue = queue
        self._secrets = secrets
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.directory = Directory(secrets)
        self.directory.load(queue)
        self.suppressions = Suppressions(queue, clock)

    def reload(self) -> None:
        """Take over what another process has changed."""
        with self._lock:
            self.directory.load(self._queue)
        self._tell([])
        self.suppressions.reload()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change, from the changing thread; it reads `directory`."""
        self._listeners.append(listener)

    # --- organizations and keys ---------------------------------------------------------------

    def create_organization(
        self, name: str, *, plan: str = "standard", in_doubt: InDoubt = "retry"
    ) -> NewKey:
        """A new organization and its first API key."""
        if not name.strip() or len(name) > 200 or not name.isprintable():
            raise ControlError(
                f"{name[:80]!r} is no name for an organization",
                fix="use 1 to 200 printable characters",
            )
        _check_slug("plan", plan)
        if in_doubt not in get_args(InDoubt):
            raise ControlError(
                f"in_doubt {in_doubt!r} is unknown", fix=f"use {', '.join(get_args(InDoubt))}"
            )
        organization = Organization(
            id="org_" + api_keys.base32(self._entropy(13))[:20],
            name=name.strip(),
            plan=plan,
            in_doubt=in_doubt,
            created_at_us=self._clock(),
        )
        with self._lock:
            key, new = self._new_key(organization.id)
            self._write(organization, key)
        return new

    def update_organization(self, org: str, *, salt: int) -> Organization:
        """Spread an organization over so many slots from now on."""
        if not 1 <= salt <= MAX_SALT:
            raise ControlError(f"a salt of {salt} is none", fix=f"use 1 to {MAX_SALT}")
        with self._lock:
            changed = msgspec.structs.replace(self._organization(org), salt=salt)
            self._write(changed)
        return changed

    def create_key(self, org: str) -> NewKey:
        """One more API key of an organization."""
        with self._lock:
            self._organization(org)
            key, new = self._new_key(org)
            self._write(key)
        return new

    def revoke_key(self, prefix: str) -> None:
        """Refuse the key from now on; revoking twice is no error.

        ``prefix``: the lookup prefix, or the key's text up to it (``pl_abcd2345``).
        """
        name = prefix.removeprefix(api_keys.MARK).partition("_")[0]
        with self._lock:
            key = self.directory.snapshot.api_keys.get(name)
            if key is None:
                raise ControlError(f"there is no API key {name[:20]!r}", fix="list the keys first")
            if not key.revoked_at_us:
                self._write(msgspec.structs.replace(key, revoked_at_us=self._clock()))

    def _new_key(self, org: str) -> tuple[ApiKey, NewKey]:
        prefix, token = api_keys.new_token(self._entropy)
        if prefix in self.directory.snapshot.api_keys:
            raise ControlError("a random key prefix was drawn twice", fix="try again")
        key = ApiKey(
            prefix=prefix, org=org, sha256=api_keys.hash_token(token), created_at_us=self._clock()
        )
        return key, NewKey(org, prefix, token)

    def _organization(self, org: str) -> Organization:
        found = self.directory.organization(org)
        if found is None:
            raise ControlError(f"there is no organization {org[:40]!r}", fix="postalynk org create")
        return found

    # --- domains ------------------------------------------------------------------------------

    def add_domain(self, domain: str, org: str, rsa_key_pem: bytes | None = None) -> DomainSetup:
        """Let an organization send from a domain, with an RSA and an Ed25519 signing key.

        ``rsa_key_pem``: a private key of one's own (RSA or Ed25519) in place of a made one. Adding
        a domain again without a key changes nothing and answers what is so.
        """
        name = self._domain_name(domain)
        with self._lock:
            self._organization(org)
            present = self.directory.domain(name)
            if present is not None and present.org != org:
                raise ControlError(
                    f"the domain {name} is in use by another organization",
                    fix="remove it there first, or use a domain of your own",
                )
            if present is not None and rsa_key_pem is not None:
                raise ControlError(
                    f"the domain {name} has its keys already",
                    fix="remove the domain before adding it with a key of your own",
                )
            if present is None:
                keys = make_keys(name, self._secrets, rsa_key_pem)
                present = Domain(name=name, org=org, keys=keys, created_at_us=self._clock())
                self._write(present)
        return self.domain_setup(present)

    def rotate_domain(self, domain: str, org: str, rsa_key_pem: bytes | None = None) -> DomainSetup:
        """Make new signing keys, which sign once DNS shows them; until then the present ones do.

        ``rsa_key_pem``: a private key of one's own in place of a made one. While keys wait to be
        published, asking again makes none and answers what is so.
        """
        name = self._domain_name(domain)
        with self._lock:
            present = self._domain(name, org)
            is_waiting = any(key.state == "waiting" for key in present.keys)
            if is_waiting and rsa_key_pem is not None:
                raise ControlError(
                    f"new keys of {name} wait to be published already",
                    fix=f"publish them and rotate again later: postalynk domain show {name}",
                )
            if not is_waiting:
                keys = make_keys(name, self._secrets, rsa_key_pem, present.keys)
                present = with_new_keys(present, keys, self._clock())
                self._write(present)
        return self.domain_setup(present)

    def changing_domains(self) -> list[Domain]:
        """Those whose next look at DNS may change their keys."""
        return [domain for domain in self.directory.domains() if is_pending(domain)]

    def advance_keys(self, domain: str, shown: Mapping[str, bool]) -> Domain:
        """Take what DNS was just seen to show, selector → shown; see `rotation.advance`."""
        with self._lock:
            present = self._domain(self._domain_name(domain))
            advanced = advance(present, shown, self._waits, self._clock())
            if advanced is not present:
                self._write(advanced)
        return advanced

    def _domain(self, name: str, org: str | None = None) -> Domain:
        present = self.directory.domain(name)
        if present is None or (org is not None and present.org != org):
            raise ControlError(f"there is no domain {name}", fix="list the domains first")
        return present

    def remove_domain(self, domain: str, org: str | None = None) -> None:
        """Take a domain and its keys away; with ``org``, only if it is that organization's."""
        name = self._domain_name(domain)
        with self._lock:
            self._remove(self._domain(name, org))

    def domain_setup(self, domain: Domain) -> DomainSetup:
        """Selectors and DNS records of a domain."""
        return setup_of(domain, self.directory.sources())

    def _domain_name(self, domain: str) -> str:
        try:
            name = normal_domain(domain)
        except ValueError as error:
            raise ControlError(
                f"{domain[:100]!r} is no mail domain: {error}", fix="write it like example.com"
            ) from error
        if len(name) > MAX_DOMAIN:
            raise ControlError(
                f"the domain has {len(name)} octets", fix=f"use one of at most {MAX_DOMAIN}"
            )
        return name

    # --- templates ----------------------------------------------------------------------------

    def create_template(self, org: str, id_: str, fields: TemplateFields) -> Template:
        """Store a new template; the fields were checked by who asks."""
        with self._lock:
            self._organization(org)
            owned = self.directory.templates(org)
            templates.refuse_too_many(owned, fields)
            template = templates.made(org, id_, fields, self._clock())
            self._write(template)
        return template

    def change_template(self, org: str, id_: str, fields: TemplateFields) -> Template | None:
        """Change what is given and count it; None: the organization has no such template."""
        with self._lock:
            present = self.directory.template(id_)
            if present is None or present.org != org:
                return None
            others = [t for t in self.directory.templates(org) if t.id != id_]
            template = templates.changed(present, fields, self._clock())
            templates.refuse_too_much(others, template)
            self._write(template)
        return template

    def remove_template(self, org: str, id_: str) -> bool:
        """Take a template away; accepted messages keep theirs. False: there is no such one."""
        with self._lock:
            present = self.directory.template(id_)
            if present is None or present.org != org:
                return False
            self._remove(present)
        return True

    # --- egress -------------------------------------------------------------------------------

    def set_source(self, name: str, *, ip: str = "", ehlo: str = "", relay: str = "") -> Source:
        """Create or change an egress source; an empty ``ip`` leaves the choice to the system.

        ``relay``: the machine it leaves by; see `postalynk.control.relays`.
        """
        _check_slug("source", name)
        if ip:
            try:
                ip = str(ipaddress.ip_address(ip))
            except ValueError as error:
                raise ControlError(
                    f"{ip[:60]!r} is no IP address", fix="write 192.0.2.1"
                ) from error
        if ehlo and not _EHLO.fullmatch(ehlo):
            raise ControlError(
                f"{ehlo[:80]!r} is no host name", fix="write it like mail.example.com"
            )
        shown = relays.without_login(relay) if relay else ""
        if shown.startswith("proxy2:") and not ip:
            raise ControlError(
                f"the relay {shown} must be told an address", fix="give the source its --ip"
            )
        sealed = ""
        if relay != shown:
            sealed = self._secrets.seal(relay.encode(), relays.place(name))
        with self._lock:
            source = Source(
                name=name,
                ip=ip,
                ehlo=ehlo,
                relay=shown,
                sealed_relay=sealed,
                created_at_us=self._clock(),
            )
            self._write(source)
        return source

    def set_pool(self, name: str, sources: Mapping[str, int]) -> Pool:
        """Create or change a pool: source → weight."""
        _check_slug("pool", name)
        if not sources:
            raise ControlError(f"the pool {name} has no source", fix="name at least one")
        with self._lock:
            for source, weight in sources.items():
                if source not in self.directory.snapshot.sources:
                    raise ControlError(
                        f"the pool {name} names the unknown source {source[:63]!r}",
                        fix="set the source first",
                    )
                if not 1 <= weight <= MAX_WEIGHT:
                    raise ControlError(
                        f"source {source} has the weight {weight}", fix=f"use 1 to {MAX_WEIGHT}"
                    )
            pool = Pool(name=name, sources=dict(sources), created_at_us=self._clock())
            self._write(pool)
        return pool

    # --- policies -----------------------------------------------------------------------------

    def deploy_policy(self, bundle: Bundle, canary_share: float | None = None) -> PolicyInForce:
        """Put a bundle in force; the `KEPT_POLICIES` deployed last are kept.

        With ``canary_share`` (more than 0, less than 1) it decides for that share of the
        organizations only, until it is promoted or taken back. It is loaded first, so what is in
        force can be loaded; raises PolicyError with file and line. Deploying what is in force
        changes nothing but its place among the kept. A canary that was on trial is so no more.
        """
        if canary_share is not None and not 0 < canary_share < 1:
            raise ControlError(
                f"a canary cannot have {canary_share:.0%} of the organizations",
                fix="use more than 0% and less than 100%",
            )
        load_bundle(bundle)
        version = bundle.version
        with self._lock:
            snapshot = self.directory.snapshot
            before, now_us = snapshot.in_force, self._clock()
            if canary_share is not None and version == before.current:
                raise ControlError(f"the policy {version} is in force already", fix="change it")
            kept, gone = kept_policies(
                [*before.kept, version], before.current if canary_share else version
            )
            in_force = PolicyInForce(current=version, kept=kept, created_at_us=now_us)
            if canary_share is not None:
                in_force = PolicyInForce(
                    current=before.current,
                    kept=kept,
                    canary=version,
                    canary_share=canary_share,
                    canary_since_us=now_us,
                    created_at_us=now_us,
                )
            # The bundle before what names it, and that before the oldest goes.
            self._write(
                DeployedPolicy(policy=version, files=dict(bundle.content), created_at_us=now_us)
            )
            self._write(in_force)
            for old in gone:
                if (value := snapshot.policies.get(old)) is not None:
                    self._remove(value)
        return in_force

    def promote_policy(self) -> PolicyInForce:
        """Let the canary decide for everybody; raises ControlError when none is on trial."""
        with self._lock:
            in_force = self.directory.snapshot.in_force
            if not in_force.canary:
                raise ControlError("no canary is on trial", fix="postalynk policy list")
            return self._put_in_force(in_force.canary, f"{in_force.canary} promoted")

    def end_canary(self, version: str, why: str) -> bool:
        """Take this canary back, if it is still on trial; whether it was."""
        with self._lock:
            in_force = self.directory.snapshot.in_force
            if in_force.canary != version:
                return False
            self._put_in_force(in_force.current, f"{version} taken back: {why}")
            return True

    def roll_back_policy(self, version: str | None = None) -> PolicyInForce:
        """Put a kept bundle in force again: the one named, else the one deployed before.

        While a canary is on trial and none is named, the canary goes. Before the first of the kept
        there is the policy of ``policy.path``.
        """
        with self._lock:
            in_force = self.directory.snapshot.in_force
            kept, ended = in_force.kept, ""
            if in_force.canary:
                ended = f"{in_force.canary} taken back by the operator"
            if version is None:
                if in_force.canary:
                    version = in_force.current
                elif not in_force.current:
                    raise ControlError(
                        "no deployed policy is in force", fix="postalynk policy list"
                    )
                else:
                    place = kept.index(in_force.current)
                    version = kept[place - 1] if place else ""
            elif version not in kept:
                raise ControlError(
                    f"the policy {version[:40]!r} is not kept", fix="postalynk policy list"
                )
            return self._put_in_force(version, ended)

    def _put_in_force(self, version: str, ended: str) -> PolicyInForce:
        """Everybody's version, no canary; the lock is held."""
        changed = PolicyInForce(
            current=version,
            kept=self.directory.snapshot.in_force.kept,
            ended=ended,
            created_at_us=self._clock(),
        )
        self._write(changed)
        return changed

    # --- the one way to change anything -------------------------------------------------------

    def _write(self, *values: Value) -> None:
        keys = [key_of(value) for value in values]
        before = self._queue.get(TOPIC, PARTITION, keys)
        self._queue.append(
            [
                (TOPIC, PARTITION, key, encode(value, previous))
                for key, value, previous in zip(keys, values, before, strict=True)
            ]
        )
        self._announce(dict(zip(keys, values, strict=True)))

    def _remove(self, value: Value) -> None:
        key = key_of(value)
        self._queue.append([(TOPIC, PARTITION, key, None)])
        self._announce({key: None})

    def _announce(self, changes: Mapping[bytes, Value | None]) -> None:
        self.directory.put(changes)
        if all(key.startswith(templates.PREFIX) for key in changes):
            return  # nothing anybody was told of: the engine has no part in templates
        self._tell([key.decode() for key in changes])

    def _tell(self, changed: list[str]) -> None:
        for listener in self._listeners:
            try:
                listener()
            except Exception:
                # The change is durable and visible; a deaf listener must not deny it.
                log.exception("a listener of control changes failed", changed=changed)


def _check_slug(what: str, name: str) -> None:
    if not _SLUG.fullmatch(name):
        raise ControlError(
            f"{name[:80]!r} is no name for a {what}",
            fix="use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
        )
