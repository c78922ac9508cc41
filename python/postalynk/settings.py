"""Every setting, its default and where its value came from.

One TOML file (`postalynk.toml`, `--config F` or ``POSTALYNK_CONFIG``); every key also as
``POSTALYNK_API__LISTEN=…`` in the environment, which wins. Frozen once loaded. `Settings.origins`
remembers the file or variable behind each value so that `postalynk doctor` can say why it is so.
Relative paths are relative to the directory of the file.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from postalynk.errors import SettingsError

ENV_PREFIX = "POSTALYNK_"
LISTS = frozenset({"dns.servers", "policy.explain_organizations"})
"""Settings that are lists: separated by commas in the environment."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys are refused."""


class Api(Section, frozen=True):
    """The HTTP API."""

    listen: str = "127.0.0.1:8080"
    """``host:port``; it speaks plain HTTP, so put a TLS proxy before any other address."""
    max_body_bytes: int = 30_000_000
    """Larger requests are refused with 413 before they are buffered."""


class Submission(Section, frozen=True):
    """SMTP in: any user name, an API key as password."""

    listen: str = "127.0.0.1:2525"
    """``host:port`` where TLS begins with STARTTLS; empty: none."""
    listen_tls: str = ""
    """``host:port`` where TLS begins at once (RFC 8314), such as ``0.0.0.0:465``; empty: none."""
    tls_certificate: str = ""
    """PEM file of the certificate chain; empty: no TLS. Taken anew when it changes."""
    tls_key: str = ""
    """PEM file of its private key; empty: it is in the certificate's file."""
    require_tls: bool = True
    """No AUTH without TLS, except for clients on loopback, whose octets cross no network."""
    max_message_bytes: int = 30_000_000
    """Larger messages are refused with 552 (SIZE, RFC 1870)."""
    max_connections: int = 1_000
    """In total; half of them per client address and per organization."""
    max_connections_per_org: int = 0
    """Of one organization; 0: half of ``max_connections``."""
    trusted_networks: dict[str, str] = {}
    """Networks whose clients need no AUTH, and the organization they send for:
    ``{"192.0.2.0/28" = "org_…"}``. Whoever can connect from there can send in its name."""


class Metrics(Section, frozen=True):
    """Prometheus exposition."""

    listen: str = "127.0.0.1:9090"
    """``host:port``; anybody who reaches it may read it."""


class Queue(Section, frozen=True):
    """The log that is the truth."""

    url: str = "embedded:data/queue"
    """``embedded:DIRECTORY`` (one process) or ``kafka://host:9092,host:9092`` (a fleet)."""
    partitions: int = 64
    """A power of two. Embedded: fixed once the queue exists; Kafka: see ``postalynk topics``."""
    directory: str = "data/queue"
    """Kafka: what belongs to this process alone: control socket, journal of open attempts, copies
    of compacted topics. Two processes never share one."""
    topic_prefix: str = ""
    """Kafka: before the name of every topic and group, such as ``staging.``."""
    replicas: int = 3
    """Kafka: copies of every partition."""
    min_in_sync: int = 2
    """Kafka: how many copies a record is on before it counts as stored."""
    member: str = ""
    """Kafka: this worker's name among the workers, the same after each restart; empty: the host's
    name. A worker that comes back under its name in time gets its partitions back."""
    session_timeout_s: float = 45.0
    """Kafka: as the brokers have it (``group.consumer.session.timeout.ms``): a worker that could
    not commit for as long starts nothing more."""
    append_timeout_s: float = 10.0
    """Kafka: how long accept waits for the brokers before it answers 503."""
    client: dict[str, str] = {}
    """Kafka: further settings of the client (librdkafka), such as ``security.protocol``."""
    retention_s: int = 604_800
    """Seven days: longer than any message may be retried, so a replay finds everything."""
    retention_bytes: int = 0
    """0: no bound but time."""
    retention_records: int = 10_000_000
    """Half a gigabyte: the embedded log keeps about 45 bytes of index per record in memory, and a
    message takes about three records. 0: no bound but time."""

    @property
    def is_kafka(self) -> bool:
        """Whether the log is Kafka's."""
        return self.url.startswith("kafka://")

    @property
    def servers(self) -> list[str]:
        """``host:port`` of the brokers to ask first."""
        return self.url.removeprefix("kafka://").split(",")


class Hot(Section, frozen=True):
    """PostgreSQL: a projection for people and the API."""

    url: str = "embedded:data/hot"
    """``embedded:DIRECTORY`` (a server of our own) or ``postgresql://…``, version 15 or newer."""


class Warm(Section, frozen=True):
    """ClickHouse; read by later releases."""

    url: str = "chdb:data/warm"


class Cold(Section, frozen=True):
    """Object storage; read by later releases."""

    url: str = "file:data/cold"


class Dns(Section, frozen=True):
    """Who is asked for MX hosts and addresses; by default the system's resolvers."""

    servers: tuple[str, ...] = ()
    """Addresses of resolvers, with a port or without: ``9.9.9.9``, ``[2620:fe::fe]:53``."""
    dnssec: str = "auto"
    """``on``, ``off``, or ``auto``: from the time on that resolvers are seen to pass signatures on.
    Without it there is no DANE."""
    trust_anchor: str = ""
    """File of DNSKEY records to trust; empty: the root zone's. With one, ``auto`` is ``on``."""


class Smtp(Section, frozen=True):
    """SMTP out."""

    port: int = 25
    """Of MX hosts; a smart host names its own."""


class Tls(Section, frozen=True):
    """What is demanded of TLS to receivers: ``opportunistic`` (any certificate, and plaintext as a
    recorded last resort), ``require`` (any certificate) or ``verify`` (one that is good for the
    host's name). DANE and MTA-STS can only add to it.
    """

    default: str = "opportunistic"
    """Where neither site nor domain nor policy says otherwise."""
    sites: dict[str, str] = {}
    """By site, such as ``google = "verify"``."""
    domains: dict[str, str] = {}
    """By recipient domain; wins over the site."""
    ca_file: str = ""
    """PEM file of authorities to trust beside Mozilla's; empty: none."""
    dane: bool = True
    """Heed TLSA records (RFC 7672)."""
    mta_sts: bool = True
    """Heed MTA-STS policies (RFC 8461)."""
    mta_sts_port: int = 443
    """Port of the hosts that serve them; another only in tests."""


class Chunking(Section, frozen=True):
    """Whether messages leave in chunks (BDAT, RFC 3030) where a receiver offers CHUNKING. One that
    refuses what it offers is noticed and remembered; here it can be told beforehand.
    """

    default: bool = True
    """Where neither site nor domain says otherwise."""
    sites: dict[str, bool] = {}
    """By site, such as ``office365 = false``."""
    domains: dict[str, bool] = {}
    """By recipient domain; wins over the site."""


class Delivery(Section, frozen=True):
    """How mail leaves."""

    smart_host: str = ""
    """``host:port``: everything goes there instead of to the recipients' MX hosts."""
    smart_host_user: str = ""
    """Who we are to it (AUTH PLAIN or LOGIN); empty: it asks for no login. It then must show a
    certificate for its name, whatever ``[delivery.tls]`` says."""
    smart_host_password_file: str = ""
    """File whose first line is the password; no setting holds it, so no log can."""
    smart_host_tls: str = ""
    """``implicit``: TLS from the start, as on port 465 (RFC 8314), never plaintext; ``starttls``.
    Empty: implicit on port 465, else STARTTLS as ``[delivery.tls]`` says."""
    ehlo: str = ""
    """Name for EHLO where a source has none of its own; empty: the host's name."""
    smtp: Smtp = Smtp()
    tls: Tls = Tls()
    chunking: Chunking = Chunking()
    sign: bool = True
    """Sign with DKIM; off only where a smart host signs, or to measure without it."""
    shards: int = 0
    """I/O threads; 0: one per four cores."""
    signing_threads: int = 0
    """Threads that compose and sign; 0: one per core, eight where signatures share calls."""
    signer: str = "auto"
    """What does RSA: ``aws-lc-rs``; ``multibuffer``, eight signatures a call, which needs a CPU
    with AVX-512 IFMA and ``pip install 'postalynk[multibuffer]'``; ``auto``, the faster of both."""
    connections: int = 0
    """Most connections per path; 0: the provider's own limit, 10 elsewhere, 20 to a smart host."""
    per_connection: int = 0
    """Most messages per connection; 0: the provider's own limit."""
    rate: str = ""
    """Most messages per path, such as ``100/s``; empty: the provider's own limit."""
    idle_s: int = 30
    """How long a connection waits for another message before it is closed."""
    max_age_s: int = 300
    """A connection this old takes no further message."""
    transcript_sample: int = 1_000
    """One in so many attempts that went well keeps its transcript; 0: none. Failures always do."""
    max_in_flight: int = 10_000
    """Deliveries in the engine at a time; the rest waits in the queue."""


class TlsReports(Section, frozen=True):
    """Daily reports to domains that want to know how TLS to them went (RFC 8460)."""

    sender: str = ""
    """Address at a domain of an organization here, which signs them; empty: none are sent."""
    organization: str = ""
    """Who reports; empty: the sender's domain."""
    contact: str = ""
    """Whom to ask; empty: the sender."""


class Policy(Section, frozen=True):
    """Who decides on routes and retries."""

    path: str = ""
    """The directory of the Python policy; empty: the default policy shipped with Postalynk."""
    budget_ms: float = 5.0
    """Time a hook may take per delivery, averaged over a batch, before the fallback is taken."""
    memory_bytes: int = 268_435_456
    """Memory the hooks of a batch may hold, MemoryError in the one that would pass it; 0: any."""
    explain_one_in: int = 1_000
    """Of so many decisions one is explained, and shown by `postalynk why`; 0: none."""
    explain_organizations: tuple[str, ...] = ()
    """Organizations whose every decision is explained."""


class RedriveRule(Section, frozen=True):
    """Dead letters that a newer release puts back by itself."""

    reason: str
    """Of the letters."""
    versions: str
    """Releases that process them, such as ``>=1.4`` or ``>=1.4,<2``."""


class DeadLetters(Section, frozen=True):
    """What becomes of records that cannot be processed."""

    max_run: int = 100
    """So many in a row halt their partition until `postalynk dlq resume`; 0: no such limit."""
    max_ratio: float = 0.1
    """Such a share of the records lately read halts it, too; 1: no such limit."""
    redrive: tuple[RedriveRule, ...] = ()
    """After a release is deployed that is among ``versions``, letters with that ``reason`` from
    releases that are not go back by themselves: ``[{reason = "…", versions = ">=1.4"}]``."""
    redrive_per_s: float = 100.0
    """How fast letters go back at most, by rule or by command."""


class Control(Section, frozen=True):
    """Keys at rest, and how they change."""

    master_key_file: str = ""
    """32 random bytes, base64; empty: ``master.key`` beside the queue, made at first start."""
    key_check_s: float = 300.0
    """While DKIM keys change, how often DNS is asked what it shows of them."""
    key_settle_s: float = 600.0
    """How long DNS must have shown a new key before it signs: the servers of a zone agree minutes
    after each other, and a receiver may ask any of them."""
    key_retire_s: float = 604_800.0
    """How long the record of a key is needed after its last signature; seven days: longer than any
    message may be retried. Then the key is destroyed."""


class Settings(Section, frozen=True):
    """All sections; build it with `load`."""

    api: Api = Api()
    submission: Submission = Submission()
    metrics: Metrics = Metrics()
    queue: Queue = Queue()
    hot: Hot = Hot()
    warm: Warm = Warm()
    cold: Cold = Cold()
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    tls_reports: TlsReports = TlsReports()
    policy: Policy = Policy()
    dead_letters: DeadLetters = DeadLetters()
    control: Control = Control()
    directory: str = "."
    """Where relative paths start; set by `load`."""
    origins: dict[str, str] = {}
    """``api.listen`` → the file or variable that set it; keys left at their default are absent."""

    def path(self, text: str) -> Path:
        """A path of a setting, made absolute."""
        return (Path(self.directory) / text).resolve()


def load(file: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the file, then the environment over it.

    ``file`` None: ``POSTALYNK_CONFIG``, else a ``postalynk.toml`` here, else defaults.
    Raises SettingsError naming the key, its value, its origin and what would be right.
    """
    environ = os.environ if environ is None else environ
    name = file or environ.get("POSTALYNK_CONFIG") or ""
    if not name and Path("postalynk.toml").is_file():
        name = "postalynk.toml"
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if name:
        tree = _read(Path(name))
        _note(tree, name, "", origins)
    for variable, text in sorted(environ.items()):
        if variable.startswith(ENV_PREFIX) and "__" in variable:
            keys = variable.removeprefix(ENV_PREFIX).lower().split("__")
            _put(tree, keys, text, variable)
            origins[".".join(keys)] = variable
    for reserved in ("directory", "origins"):
        if reserved in tree:
            raise SettingsError(f"{name}: unknown section [{reserved}]", fix="remove it")
    directory = str(Path(name).resolve().parent) if name else str(Path.cwd())
    return _convert(tree, origins, directory)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(
            f"cannot read the configuration {path}: {error.strerror}", fix="check --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}", fix="mend that line") from error


def _note(tree: Mapping[str, Any], origin: str, prefix: str, origins: dict[str, str]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            _note(value, origin, f"{prefix}{key}.", origins)
        else:
            origins[f"{prefix}{key}"] = origin


def _put(tree: dict[str, Any], keys: list[str], text: str, variable: str) -> None:
    """Set one environment value, as a list where the setting is one, else as text to convert."""
    node = tree
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise SettingsError(f"{variable} sets a key below a plain value", fix="unset it")
    is_list = ".".join(keys) in LISTS
    node[keys[-1]] = [item.strip() for item in text.split(",") if item.strip()] if is_list else text


def _convert(tree: dict[str, Any], origins: dict[str, str], directory: str) -> Settings:
    try:
        # Not strict: numbers and booleans arrive as text from the environment.
        settings = msgspec.convert(
            {**tree, "directory": directory, "origins": origins}, Settings, strict=False
        )
    except msgspec.ValidationError as error:
        text = str(error)
        table = text.rpartition("`$.")[2].rstrip("`") if "`$." in text else ""
        unknown = re.search(r"unknown field `([^`]+)`", text)
        key = ".".join(part for part in (table, unknown[1] if unknown else "") if part)
        origin = origins.get(key) or next(
            (where for name, where in origins.items() if name.startswith(key)), "configuration"
        )
        raise SettingsError(f"{origin}: {text}", fix="see docs/reference/settings.md") from error
    _check(settings)
    return settings


def _is_trustable(text: str) -> bool:
    """A network, and not most of the Internet."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    return network.prefixlen >= (8 if network.version == 4 else 32)


def _check_shares(settings: Settings, refuse: Callable[[str, object, str], None]) -> None:
    """Who may submit, and how much of it at a time."""
    if settings.submission.max_connections_per_org < 0:
        value = settings.submission.max_connections_per_org
        refuse("submission.max_connections_per_org", value, "use 0 or more")
    for network in settings.submission.trusted_networks:
        if not _is_trustable(network):
            fix = "name a network such as 192.0.2.0/28, no wider than /8 (IPv6: /32)"
            refuse("submission.trusted_networks", network, fix)


def _check_letters(said: DeadLetters, refuse: Callable[[str, object, str], None]) -> None:
    """Limits and pace of dead letters; the rules are read where they are applied."""
    if not 0 < said.max_ratio <= 1:
        refuse("dead_letters.max_ratio", said.max_ratio, "use a share up to 1")
    if said.max_run < 0:
        refuse("dead_letters.max_run", said.max_run, "use 0 or more")
    if said.redrive_per_s <= 0:
        refuse("dead_letters.redrive_per_s", said.redrive_per_s, "use above 0")


def _check_queue(settings: Settings, refuse: Callable[[str, object, str], None]) -> None:
    """Where the log is, and what Kafka is told."""
    queue = settings.queue
    if not queue.url.startswith(("embedded:", "kafka://")):
        refuse("queue.url", queue.url, "write embedded:DIRECTORY or kafka://host:9092")
    if queue.is_kafka and not all(":" in server for server in queue.servers):
        refuse("queue.url", queue.url, "write kafka://host:9092,host:9092")
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,100}", queue.topic_prefix):
        refuse("queue.topic_prefix", queue.topic_prefix, "use letters, digits, dots and dashes")
    if not 1 <= queue.min_in_sync <= queue.replicas:
        refuse("queue.min_in_sync", queue.min_in_sync, "use 1 to queue.replicas")
    for key in ("session_timeout_s", "append_timeout_s"):
        if not getattr(queue, key) > 0:
            refuse(f"queue.{key}", getattr(queue, key), "use a number of seconds above 0")
    if queue.is_kafka and not settings.control.master_key_file:
        fix = "name a file that all processes have: they seal and open the same keys"
        refuse("control.master_key_file", "", fix)


def _check(settings: Settings) -> None:
    def refuse(key: str, value: object, fix: str) -> None:
        origin = settings.origins.get(key, "default")
        raise SettingsError(f"{key} = {value!r} (from {origin}) is not usable", fix=fix)

    for key, listen in (
        ("api.listen", settings.api.listen),
        ("submission.listen", settings.submission.listen or "none:0"),
        ("submission.listen_tls", settings.submission.listen_tls or "none:0"),
        ("metrics.listen", settings.metrics.listen),
    ):
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            refuse(key, listen, "write host:port, such as 127.0.0.1:8080")
    if settings.submission.listen_tls and not settings.submission.tls_certificate:
        refuse("submission.tls_certificate", "", "name the certificate for listen_tls")
    if settings.submission.max_connections < 1:
        refuse("submission.max_connections", settings.submission.max_connections, "use 1 or more")
    for key in ("key_check_s", "key_settle_s", "key_retire_s"):
        seconds = getattr(settings.control, key)
        if not 0 <= seconds < 1e9 or (key == "key_check_s" and seconds == 0):
            refuse(f"control.{key}", seconds, "use a number of seconds")
    _check_shares(settings, refuse)
    partitions = settings.queue.partitions
    if partitions < 1 or partitions > 4096 or partitions & (partitions - 1):
        refuse("queue.partitions", partitions, "use a power of two from 1 to 4096")
    _check_queue(settings, refuse)
    if not settings.hot.url.startswith(("embedded:", "postgresql:", "postgres:")):
        refuse("hot.url", settings.hot.url, "write embedded:DIRECTORY or postgresql://…")
    if settings.delivery.smart_host and ":" not in settings.delivery.smart_host:
        refuse("delivery.smart_host", settings.delivery.smart_host, "write host:port")
    if settings.delivery.smart_host_tls not in {"", "starttls", "implicit"}:
        refuse(
            "delivery.smart_host_tls", settings.delivery.smart_host_tls, "use implicit or starttls"
        )
    if settings.delivery.signer not in {"auto", "aws-lc-rs", "multibuffer"}:
        refuse("delivery.signer", settings.delivery.signer, "use auto, aws-lc-rs or multibuffer")
    _check_letters(settings.dead_letters, refuse)
    if settings.delivery.max_in_flight < 1:
        refuse("delivery.max_in_flight", settings.delivery.max_in_flight, "use 1 or more")
