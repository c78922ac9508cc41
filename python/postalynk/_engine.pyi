"""The Rust engine as Python sees it: queue, delivery, codecs and the test sink.

Conventions: every call that can block or burn CPU releases the GIL; batches go in and come out as
one object; a body never becomes a Python object on its way from the queue to the wire. Outcomes of
SMTP are values; exceptions (`postalynk.errors`) mean misuse, shutdown or a bug.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, final

_Append = tuple[str, int, bytes | None, bytes | None]
"""(topic, partition, key, value): a key makes it an upsert of a compacted topic, whose tombstone is
a value of None; append topics take no key."""

_Position = tuple[str, int]
"""(topic, partition)."""

_Row = tuple[str, int, int, int, bytes]
"""(topic, partition, offset, appended_at_us, value)."""

VERSION: Final[str]

# --- the embedded queue ----------------------------------------------------------------------

@final
class EmbeddedQueue:
    """The durable log on one machine; owned by one process, safe to share between threads."""

    def __new__(
        cls,
        path: str,
        *,
        partitions: int = 64,
        max_age_s: int = 604_800,
        max_bytes: int = 0,
        max_records: int = 0,
    ) -> Self:
        """Open or create the queue at ``path``; a torn tail is cut and reported by ``recovery``.

        Retention: records older than ``max_age_s`` go, and the oldest beyond ``max_bytes`` or
        ``max_records`` (0: no bound); never one that group "worker" has not committed.
        Raises QueueLocked when another process holds it, QueueError on I/O.
        """
    @property
    def partitions(self) -> int: ...
    @property
    def recovery(self) -> list[str]:
        """What recovery cut at start, in words; empty after a clean stop."""
    def append(self, appends: Sequence[_Append]) -> list[int]:
        """Make all durable, then return their offsets in order (0 for compacted topics).

        The append-topic records of one call are atomic; they are on disk before the compacted
        ones of the same call. Blocks for one group-committed fdatasync.
        """
    def get(self, topic: str, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The newest values of a compacted topic, one answer per key, in order."""
    def compacted(
        self, topic: str, partition: int, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` live (key, value) pairs in key order, starting after key ``after``."""
    def expire(self, topic: str, before_us: int) -> int:
        """Remove the keys of a compacted topic last written before a time; gives their number."""
    def consumer(self, group: str, topics: Sequence[str]) -> EmbeddedConsumer:
        """A reader with its own positions, starting at the group's committed offsets.

        An empty ``group`` reads from the oldest record and cannot commit.
        """
    def offsets(self, topic: str) -> list[tuple[int, int]]:
        """(oldest, end) per partition; end is the offset the next record gets."""
    def oldest_at_us(self, topic: str, partition: int, offset: int) -> int | None:
        """When the record at or after ``offset`` was appended; None when there is none."""
    def committed(self, group: str) -> dict[_Position, tuple[int, bytes]]:
        """Committed offset and note of every partition the group has committed."""
    def apply_retention(self) -> int:
        """Drop what retention allows; the number of records dropped."""
    def close(self) -> None: ...

@final
class EmbeddedConsumer:
    """Reads append topics in partition order, fairly over partitions."""

    def poll(self, max_records: int, max_bytes: int, timeout_ms: int) -> RecordBatch:
        """Wait until there is something or the time is over (then an empty batch)."""
    def commit(self, positions: Mapping[_Position, tuple[int, bytes]]) -> None:
        """Store (next offset, note) per partition, durably."""
    def committed(self) -> dict[_Position, tuple[int, bytes]]: ...
    def pause(self, positions: Sequence[_Position]) -> None: ...
    def resume(self, positions: Sequence[_Position]) -> None: ...
    def seek(
        self, topic: str, partition: int, *, offset: int | None = None, time_us: int | None = None
    ) -> None: ...
    def lag(self) -> dict[_Position, int]:
        """Records between this reader's position and the end."""
    def close(self) -> None: ...

@final
class RecordBatch:
    """Records of one poll, still in Rust."""

    def __new__(cls, rows: Sequence[_Row]) -> Self:
        """Records of another backend; their values' memory is borrowed, not copied."""
    def __len__(self) -> int: ...
    def rows(self) -> list[_Row]: ...
    def next_offsets(self) -> dict[_Position, int]:
        """The offset after the last record of each partition in this batch."""

# --- submission --------------------------------------------------------------------------------

@final
class Submission:
    """SMTP in: a thread that serves connections and hands up what is to be judged."""

    def __new__(
        cls,
        *,
        listen: list[str],
        listen_tls: list[str],
        host: str,
        certificate: tuple[str, str] | None,
        require_tls: bool,
        max_message_bytes: int,
        max_connections: int,
        max_connections_per_org: int = 0,
        trusted_networks: list[tuple[str, int, str]] = ...,
    ) -> Self:
        """Take the addresses (``ip:port``); nobody is served before `open`.

        ``listen``: TLS by STARTTLS; ``listen_tls``: from the start. ``certificate``: PEM files of
        chain and key. ``require_tls``: no AUTH without, but on loopback. Raises EngineError when
        an address is taken, a file is wrong, or keys would cross a network in the clear.
        ``max_connections_per_org`` 0: half of all. ``trusted_networks``: (address, prefix length,
        organization) of clients that need no AUTH; their messages carry an empty ``key``.
        """
    @property
    def addresses(self) -> list[str]:
        """Where it listens, ``listen`` first."""
    def open(self) -> None:
        """Serve from now on; once."""
    def requests(self, max_requests: int, timeout_ms: int) -> SubmissionBatch | None:
        """All that waits; blocks for the first. Empty at the time-out, None once closed."""
    def admit(self, request_id: int, org: str, key: str) -> None:
        """Let the client of a login in; its messages will carry ``org`` and ``key``."""
    def answer(self, request_id: int, text: str) -> None:
        """Answer a message, or refuse a login: ``CODE E.N.H words`` on one line of ASCII."""
    def answer_all(self, judged: JudgedSubmissions, refusal: str | None = None) -> None:
        """Answer all that were judged in order: 250 with their ids, or with ``refusal``."""
    def metrics(self) -> str:
        """Prometheus text exposition (format 0.0.4)."""
    def close(self) -> None:
        """Stop listening, wait up to ten seconds for answers under way, then end `requests`."""

@final
class SubmissionRules:
    """What is so at one moment, for `SubmissionBatch.judge`."""

    def __new__(
        cls,
        *,
        organizations: list[tuple[str, str, str, int]],
        keys: set[str],
        domains: list[tuple[str, str, bool]],
        host: str,
        partitions: int,
    ) -> Self:
        """``organizations``: (id, plan, in_doubt, salt); ``keys``: prefixes in force.

        ``domains``: (name, organization, whether it signs). ``host``: this server's name in
        Received. ``partitions``: of the queue.
        """

@final
class SubmissionBatch:
    """Logins and messages that waited together."""

    @property
    def logins(self) -> list[SubmissionLogin]: ...
    @property
    def orgs(self) -> set[str]:
        """Whose messages are in it."""
    @property
    def request_ids(self) -> list[int]:
        """Of its messages, in order."""
    def judge(self, rules: SubmissionRules, now_us: int, apart: set[str]) -> JudgedSubmissions:
        """The records of what is plainly in order, under fresh ids; nothing is answered.

        All else is in `JudgedSubmissions.apart`, with every message of the organizations
        ``apart``. ``now_us``: microseconds since the Unix epoch.
        """

@final
class JudgedSubmissions:
    """What became of a batch."""

    @property
    def appends(self) -> list[_Append]:
        """Record and ACCEPTED event of each message in order, for `Queue.append`."""
    @property
    def lanes(self) -> list[str]:
        """Of those messages."""
    @property
    def accepted(self) -> list[tuple[bytes, bytes]]:
        """Their ids, each with its ACCEPTED event."""
    @property
    def apart(self) -> list[SubmittedMessage]:
        """To be judged one by one."""

@final
class SubmissionLogin:
    """AUTH: somebody to be let in or refused."""

    @property
    def id(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...

@final
class SubmittedMessage:
    """A message to be made durable and answered; header values are unfolded, else as they came."""

    @property
    def id(self) -> int: ...
    @property
    def org(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def reverse_path(self) -> str: ...
    @property
    def recipients(self) -> list[str]: ...
    @property
    def raw(self) -> bytes:
        """The message without Bcc and X-Postalynk-* fields."""
    @property
    def from_(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def cc(self) -> str: ...
    @property
    def reply_to(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def message_id(self) -> str:
        """Without angle brackets; empty: the message has none."""
    @property
    def has_date(self) -> bool: ...
    @property
    def tags(self) -> list[str]:
        """X-Postalynk-Tag, in order."""
    @property
    def priority(self) -> str:
        """X-Postalynk-Priority."""
    @property
    def idempotency_key(self) -> str:
        """X-Postalynk-Idempotency-Key."""
    @property
    def require_tls(self) -> bool:
        """REQUIRETLS at MAIL (RFC 8689)."""
    @property
    def tls_optional(self) -> bool:
        """``TLS-Required: No`` in its header."""
    @property
    def client_name(self) -> str:
        """As given with EHLO; empty: none that may stand in a header."""
    @property
    def client_ip(self) -> str: ...
    @property
    def protocol(self) -> str:
        """``ESMTPSA`` and the like (RFC 3848)."""
    @property
    def ret(self) -> str:
        """``FULL``, ``HDRS`` or nothing (RFC 3461)."""
    @property
    def envelope_id(self) -> str: ...
    @property
    def notify(self) -> list[str]:
        """Of each recipient; empty where nothing was asked for."""
    @property
    def orcpt(self) -> list[str]: ...

# --- codecs ----------------------------------------------------------------------------------

def encode_messages(messages: Sequence[object], partitions: int) -> list[_Append]:
    """Encode `postalynk.model.AcceptedMessage` objects: for each, its record for ``email.send.*``
    or, when it is scheduled, its entry of ``email.scheduled``, and its ACCEPTED event for
    ``email.events``, in that order, ready for ``append``.
    """

def encode_scheduled(record: bytes, due_at_us: int) -> bytes:
    """A value of ``email.scheduled``: a record of ``email.send.*`` and when it is due."""

def encode_deferral(record: bytes, recipient: int, attempt: int, due_at_us: int) -> bytes:
    """A value of ``email.deferred`` after ``attempt`` attempts, with nothing known of the last."""

def encode_event(
    record: bytes,
    kind: str,
    at_us: int,
    recipient: int,
    attempt: int,
    due_at_us: int,
    reason: str,
) -> bytes:
    """A record of ``email.events`` about a message's delivery, made by an operator or an owner.

    ``kind``: cancelled, scheduled or resent. Raises ValueError.
    """

_Entry = tuple[bytes, str, str, list[tuple[str, str]], list[tuple[int, str]], str, int, int, bytes]
"""(message id, org, lane, tags, recipients as (index, address), site, attempts, due_at_us, record)
"""

def waiting(topic: str, values: Sequence[bytes]) -> list[_Entry | None]:
    """Values of ``email.deferred`` or ``email.scheduled``; None for what cannot be decoded."""

@final
class Timers:
    """When each message of a schedule is due; safe to share between threads."""

    def __new__(cls) -> Self: ...
    def __len__(self) -> int: ...
    def set(self, partition: int, message_id: bytes, due_at_us: int) -> None:
        """Set or move a time; raises ValueError unless the id has 16 bytes."""
    def remove(self, message_id: bytes) -> None: ...
    def forget(self, partition: int) -> None:
        """Remove all of a partition."""
    def due(self, now_us: int, most: int) -> list[tuple[int, list[bytes]]]:
        """Up to ``most`` whose time has come, by partition, each once; they stay until removed or
        set anew.
        """

_RoutingRecord = tuple[
    str, str, str, str, dict[str, str], str, str, list[tuple[str, str, str]], int, int
]
"""(id, org, plan, lane, tags, template, sender, recipients, size_bytes, accepted_at_us) of an
accepted message; a recipient is (address, domain, provider), the provider as far as the domain
alone tells.
"""

def routing_records(batch: RecordBatch | Sequence[_Row]) -> list[_RoutingRecord]:
    """What a policy may read of each record of ``email.send.*``, in order, for a replay.

    Records that cannot be decoded are left out: no policy was asked about them.
    """

def providers() -> list[str]:
    """Every mailbox provider that has a name here, sorted."""

def path_limits(settings_json: str, site: str, provider: str) -> tuple[int, int, str, float]:
    """What holds on a path from one source: (connections, messages a connection, rate, the rate in
    messages a second, infinite for no limit).

    ``settings_json``: the engine's settings; ``provider``: empty for none. Raises EngineError.
    """

@final
class TokenBucket:
    """The bucket that limits a path (`rust/throttle`), with the caller's clock.

    ``rate``: ``100/s``, ``600/m,max_burst=10``, ``unlimited``; ValueError for anything else.
    """

    def __new__(cls, rate: str) -> Self: ...
    def take(self, now_us: int, n: int) -> int | None:
        """Take ``n`` tokens; None when they were granted, else when they will be, in the caller's
        microseconds, and nothing was taken.
        """

def memory_watch() -> None:
    """Wrap Python's allocators, once; not under its debug allocators. Raises RuntimeError when this
    Python has not the functions for it.
    """

def memory_enter(limit_bytes: int) -> None:
    """From now on this thread may take so much more memory, MemoryError beyond; 0: no limit."""

def memory_leave() -> int:
    """The limit ends; the most it held at a time since `memory_enter`, in bytes."""

def topics() -> list[tuple[str, bool]]:
    """Every topic, and whether it is compacted."""

def partition_of(org: str, partitions: int, *, salt: int = 1, first_recipient: str = "") -> int:
    """Where a message of an organization that is spread over ``salt`` slots stands."""

def partitions_of(org: str, partitions: int, salt: int) -> list[int]:
    """All partitions its messages may stand in, the organization's own first."""

def new_message_id(now_ms: int) -> bytes:
    """A fresh UUIDv7 (RFC 9562 section 5.7), 16 bytes."""

def parse_address(text: str) -> str:
    """A normal form (domain as A-label, lower case) of an RFC 5321 mailbox.

    Raises ValueError with the reason in plain words.
    """

def parse_mailbox(text: str) -> tuple[str, str]:
    """(display name, normal address) of ``Name <a@b>`` or ``a@b``; raises ValueError."""

def check_calendar_method(method: str) -> None:
    """Raises ValueError on what is no method of RFC 5546, in capitals."""

@final
class Template:
    """A template, compiled once: Jinja, HTML escaped, undefined variables refused."""

    def __new__(cls, *, subject: str = "", html: str = "", text: str = "") -> Self:
        """Sources; empty: no such part. Lets the GIL go. Raises TemplateError."""
    def render(self, variables: bytes) -> tuple[str | None, str | None, str | None, int]:
        """(subject, HTML, text, work done), filled with a JSON object; None: no such part.

        Pure: what succeeds once succeeds again. Lets the GIL go. Raises TemplateError.
        """

def check_header(name: str, value: str) -> None:
    """Raises ValueError when a custom header may not be set or its value could inject one."""

def holds_nul(text: str) -> bool:
    """Whether the text holds U+0000; UnicodeEncodeError for a lone surrogate, as in UTF-8."""

def tlsrpt_rua(texts: Sequence[str]) -> list[str]:
    """Who wants TLS reports by the TXT records of ``_smtp._tls.`` (RFC 8460 section 3).

    Mailboxes that fit a header, and ``https:`` URLs. Of several records none counts.
    """

def encode_dead_letter(
    reason: str,
    detail: str,
    topic: str,
    partition: int,
    offset: int,
    at_us: int,
    value: bytes,
    *,
    key: bytes | None = None,
    version: str = "",
    policy_version: str = "",
) -> bytes:
    """A record of ``email.dlq`` that holds ``value`` whole, with its message id if it has one.

    ``key``: of a compacted topic; ``version``: of the Postalynk that could not process it.
    """

def decode_accepted(value: bytes) -> dict[str, Any]:
    """An ACCEPTED event as a dict; raises ValueError.

    Keys: org, at_us, lane, due_at_us, from, to, cc, bcc, reply_to (as a header would show them),
    subject, tags (pairs), recipients, message_id (of the header).
    """

def decode_dead_letter(value: bytes) -> dict[str, object]:
    """A record of ``email.dlq`` as a dict; raises ValueError.

    Keys: reason, detail, topic, source_partition and source_offset (where the record stood),
    message_id (None when it has none), org, key (None unless its topic is compacted), version,
    policy_version, record (its bytes).
    """

@final
class EventColumns:
    """Events of a batch as columns for a projection (one list per column, equal lengths)."""

    def __new__(cls, batch: RecordBatch | Sequence[_Row]) -> Self: ...
    @property
    def undecodable(self) -> list[tuple[str, int, int, str]]:
        """(topic, partition, offset, reason) of records that are no events."""
    def messages(self) -> dict[str, list[object]]:
        """Columns of the accepted messages: id (bytes), org, accepted_at_us, expires_at_us,
        scheduled_at_us, lane,
        sender, to, cc, bcc, reply_to (JSON array texts), subject, tags (JSON object text),
        size_bytes, recipients (JSON array text), message_id_header.
        """
    def events(self) -> dict[str, list[object]]:
        """Columns of all events but ACCEPTED: message_id (bytes), org, recipient, attempt, kind
        (text), at_us, recorded_at_us, address, due_at_us, reason, and those of Attempt by their
        names in the schema (pool, source, site, mx, peer, reply_code, enhanced, reply, class,
        phase, tls, connect_us, mail_us, dot_us, total_us, policy_version, route_reason, fallback,
        size_bytes, tls_refused, relay, transcript, explanation).
        """

@final
class Audit:
    """Accounts for every accepted delivery from the log alone (G1)."""

    def __new__(cls) -> Self: ...
    def events(self, batch: RecordBatch) -> None:
        """Take in records of ``email.events``."""
    def pending(self, batch: RecordBatch) -> None:
        """Take in records of ``email.send.*`` at or above the low-water mark."""
    def deferred(self, keys: Sequence[bytes]) -> None:
        """Take in live keys of ``email.deferred``."""
    def scheduled(self, keys: Sequence[bytes]) -> None:
        """Take in live keys of ``email.scheduled``."""
    def save(self) -> bytes:
        """What the events said so far, to go on with later."""
    @staticmethod
    def load(saved: bytes) -> Audit | None:
        """Go on where `save` ended; None for other bytes."""
    def forget(self, before_ms: int) -> dict[str, int]:
        """Forget messages accepted before then that are all over; deliveries per state."""
    def dead(self, batch: RecordBatch) -> None:
        """Take in records of ``email.dlq``."""
    def result(self) -> tuple[int, dict[str, int], list[str], list[str]]:
        """(accepted deliveries, count per state, ids unaccounted for, ids delivered twice)."""

# --- delivery --------------------------------------------------------------------------------

@final
class Engine:
    """Route targets, ready queues, signing and SMTP; runs on its own threads."""

    def __new__(cls, settings_json: str, lanes: SigningLanes | None = None) -> Self:
        """``settings_json``: see `postalynk.engine.EngineSettings`; ``lanes``: where RSA keys sign
        side by side.
        """
    def configure(self, pools_json: str) -> None:
        """Swap pools and sources: ``{"sources": [{"name","ip","ehlo"}], "pools": [{"name",
        "sources": {source: weight}}]}``.
        """
    def set_signers(self, signers: Sequence[tuple[str, str, str, bytes]]) -> None:
        """Swap the DKIM keys: (domain, selector, "rsa" | "ed25519", PKCS#8 DER)."""
    def suppress(self, org: str, entries: Sequence[tuple[str, int, int, str]]) -> None:
        """Replace an organization's suppression list: (address, since, until, reason), times in
        microseconds since the Unix epoch, until 0: for good. What is routed from now on and goes to
        one that is suppressed ends without an attempt.
        """
    # consume
    def room(self, timeout_ms: int) -> int:
        """How many more records may be admitted now; waits until it is above 0 or time is over."""
    def admit(
        self, batch: RecordBatch | Sequence[_Row], events_end: Mapping[int, int]
    ) -> list[tuple[str, int, int, str, bytes]]:
        """Decode, fan out and start site look-ups; what the done-set knows is skipped.

        ``events_end``: the end offset of ``email.events`` per partition, read before the poll.
        Returns what cannot be decoded: (topic, partition, offset, reason, value); each must be
        dead-lettered and then named to `discarded`.
        """
    def discarded(self, positions: Sequence[tuple[str, int, int]]) -> None: ...
    def due(self, max_deliveries: int) -> list[tuple[int, list[bytes]]]:
        """Deferrals whose time has come: (partition, keys of ``email.deferred``)."""
    def admit_deferred(
        self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]
    ) -> list[tuple[bytes, str]]:
        """Deferrals read back from the queue; returns (key, reason) of undecodable ones."""
    def flush_deferred(self, keys: Sequence[bytes]) -> int:
        """Let deferrals go at once; how many of these were waiting."""
    def cancel_deferred(
        self, partition: int, pairs: Sequence[tuple[bytes, bytes]], reason: str
    ) -> int:
        """End deferrals (key, value) that wait; how many did. Their outcomes come as all others."""
    def add_deferred(self, partition: int, deferrals: Sequence[tuple[bytes, int]]) -> None:
        """Start the timers (key, due_at_us) of deferrals that were made durable elsewhere."""
    def crowded(self) -> list[int]:
        """Partitions not worth reading on for now: their organizations hold half the room."""
    # route
    def routable(self, max_deliveries: int, timeout_ms: int) -> RouteBatch: ...
    def dispatch(
        self, batch: RouteBatch, routes: Sequence[_RouteSpec], choice: Sequence[int]
    ) -> None:
        """Send: ``choice[i]`` is the index in ``routes`` of delivery ``i``."""
    # limits by policy
    def shape_by_policy(self, is_asked: bool, orgs: Sequence[str]) -> None:
        """The policy has changed: whether it has a ``shape``, and whose own ones. With one, no new
        path sends before its answer; every path in use is asked about again.
        """
    def paths_asked(self, max_paths: int, timeout_ms: int) -> list[_Asked]:
        """Paths whose limits the policy is asked for; waits for the first of them."""
    def shape(self, answers: Sequence[tuple[_Asked, tuple[str, int, int, str]]]) -> None:
        """The answers as (rate, connections, per_connection, tls); empty and 0: the engine's own.

        Raises EngineError naming what cannot be used; then none of them is applied.
        """
    def back_off(self, paths: Sequence[tuple[str, str, int]]) -> None:
        """Let nothing leave on these (source, receiver) until then, in microseconds."""
    def warm_up(self, plans: Sequence[tuple[str, str, str, int | None, str, float]]) -> None:
        """Replace the day's plans: (source, provider, org, messages today, overflow pool, share of
        attempts that may be blamed on the sender before the day is held back). Messages None: warm,
        for an organization that leaves everybody's plan.
        """
    def held(self) -> list[tuple[str, str, str, int]]:
        """Plans that were held back: (source, provider, org, days)."""
    def standings(self) -> list[tuple[str, str, float, float, float, float]]:
        """(source, site, recent attempts, shares of them that were deferred, bounced, blamed on the
        sender), in order; an attempt weighs half after an hour, and below 20 nothing is said.
        """
    def warmth(self) -> list[tuple[str, str, str, int, int]]:
        """How far they are: (source, provider, org, sent since midnight UTC, messages today)."""
    def paths(self) -> list[tuple[str, str, bool, int, int, float, float]]:
        """Every (source, receiver) in use: whether it is open, connections, deliveries waiting,
        most messages a second (infinite: no limit), messages a second last measured (0: not known).
        """
    # record
    def outcomes(self, max_outcomes: int, timeout_ms: int) -> OutcomeBatch: ...
    def recorded(self, batch: OutcomeBatch, event_offsets: Sequence[int]) -> None:
        """The batch's events (at these offsets) and deferrals are durable: advance the low-water
        marks, start timers, free the journal's slots.
        """
    # commit
    def commits(self) -> dict[_Position, tuple[int, bytes]]:
        """Low-water offset and note (events position) per partition that moved since last asked."""
    # partitions come and go
    def lease(self, seconds: float) -> None:
        """Messages leave for as long only, unless it is called again; never called: always."""
    def assigned(self, partition: int, ends: Mapping[str, int]) -> None:
        """A partition is ours. ``ends``: per topic of ``email.send.*`` where the records end that
        another owner may have worked on; 0: there are none to be read. Then it is restored.
        """
    def release(self, partitions: Sequence[int], timeout_ms: int) -> bool:
        """Start nothing more of them, wait until what has begun is recorded; whether it is."""
    def forget(self, partitions: Sequence[int]) -> None:
        """Drop all that is known of them, once `commits` were committed. What ends later is written
        as in doubt, for the next owner may have sent it too.
        """
    # restore, in this order, before the first admit
    def restore_events(self, batch: RecordBatch) -> None:
        """Fill the done-set from ``email.events`` from the noted position to the end."""
    def restore_deferred(
        self, partition: int, pairs: Sequence[tuple[bytes, bytes]]
    ) -> list[_Append]:
        """Start timers; returns what the crash kept from being written, to be appended: tombstones
        of deferrals the done-set shows to be over, upserts of those it shows to have gone on.
        """
    def restored(self, *, is_shared: bool = False) -> int:
        """Restoring is complete; the number of attempts in doubt that the journal shows.

        ``is_shared``: others may have sent what it shows open; `answer_doubts` is to look.
        """
    # attempts that the journal shows open, where partitions are shared
    def doubts(self) -> dict[int, int]:
        """Their partitions, and when the first of each was begun (microseconds since the epoch)."""
    def answer_doubts(self, batch: RecordBatch) -> list[_Append]:
        """Take in ``email.events`` from then on; returns what is to be appended, in doubt, about
        attempts that another worker began again.
        """
    def doubts_told(self) -> None:
        """What `answer_doubts` gave is durable."""
    # observe and stop
    def in_flight(self) -> int: ...
    def deferred(self) -> int:
        """Deferrals with a timer."""
    def trace_open(self, site: str) -> int:
        """Begin to follow the conversations with a site, or with all when it is empty.

        Raises EngineError when too many do already.
        """
    def trace_read(
        self, trace: int, timeout_ms: int
    ) -> tuple[list[tuple[int, int, str, str, str, str]], int] | None:
        """((at_us, session, site, source, mx, text) …, lines lost); None: there is no such trace.

        Waits for the first line. A trace nobody reads for a minute is closed.
        """
    def trace_close(self, trace: int) -> None: ...
    def snapshot(self) -> str:
        """JSON: in flight per lane, organization and site; paths with state, connections, ready."""
    def metrics(self) -> str:
        """Prometheus text exposition (format 0.0.4)."""
    def tls_report(self, day: int) -> str:
        """JSON: the ``policies`` of RFC 8460 section 4.4 for a UTC day (days since 1970)."""
    def drain(self, timeout_ms: int) -> bool:
        """Start nothing new, finish open transactions; True when none is left."""
    def stop(self) -> None: ...

_RouteSpec = tuple[
    str, tuple[str, ...], int, tuple[tuple[str, str, str], ...], str, bool, str, str, str
]
"""(pool, fallback pools, not_before_us, header operations (op, name, value), reason, is the
fallback route (G4), policy version, lane (empty: the message's), pinned source (empty: none))."""

_Asked = tuple[str, str, str, str]
"""(source, site, provider, organization whose own path it is; empty: everybody's)."""

@final
class Delivery:
    """A read-only view of one delivery for a policy; satisfies `postalynk.policy.Message`."""

    @property
    def id(self) -> str: ...
    @property
    def org(self) -> Organization: ...
    @property
    def priority(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def tags(self) -> dict[str, str]: ...
    @property
    def template(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def sender_domain(self) -> str: ...
    @property
    def rcpt(self) -> Recipient: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def age_s(self) -> float: ...
    @property
    def last_reply(self) -> str: ...

@final
class Organization:
    @property
    def id(self) -> str: ...
    @property
    def plan(self) -> str: ...

@final
class Recipient:
    @property
    def address(self) -> str: ...
    @property
    def domain(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def suppression_age_s(self) -> float: ...

@final
class RouteBatch:
    """Deliveries whose site is known, waiting for a route."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: int, /) -> Delivery: ...
    def deliveries(self) -> list[Delivery]: ...
    def explain(self, index: int, text: str) -> None:
        """Note why the delivery at ``index`` goes where it goes; its attempt's event tells it."""

@final
class Failure:
    """What `retry` is asked about: an attempt that did not succeed."""

    @property
    def index(self) -> int:
        """Its place in the OutcomeBatch."""
    @property
    def delivery(self) -> Delivery: ...
    @property
    def source(self) -> str:
        """The source it left by; empty: it came to no path."""
    @property
    def receiver(self) -> str:
        """What the path's limits count for: the site, or the smart host."""
    @property
    def kind(self) -> str:
        """deferred or in_doubt."""
    @property
    def attempt(self) -> int: ...
    @property
    def code(self) -> int: ...
    @property
    def enhanced(self) -> str: ...
    @property
    def reply(self) -> str: ...
    @property
    def class_(self) -> str: ...
    @property
    def first_attempt_at_us(self) -> int: ...
    @property
    def at_us(self) -> int: ...
    @property
    def expires_at_us(self) -> int: ...
    @property
    def in_doubt(self) -> str:
        """The organization's wish: retry, hold or assume_delivered."""

@final
class OutcomeBatch:
    """One entry per attempt that ended (or was parked), in the order they ended."""

    def __len__(self) -> int: ...
    def failures(self) -> list[Failure]:
        """Deferred and in-doubt entries, each of which needs `schedule` or `expire`."""
    def schedule(self, index: int, due_at_us: int) -> None: ...
    def expire(self, index: int, reason: str) -> None:
        """No further attempt: the delivery becomes expired (or stays in_doubt when held)."""
    def events(self) -> list[_Append]:
        """Encoded events, one per entry but the parked ones."""
    def withdraw(self) -> list[_Append]:
        """Once it is known whose the partitions are that were uncertain while `events` were
        appended: what is to be appended about those that went, of which there are no deferrals.
        """
    def deferrals(self) -> list[_Append]:
        """Upserts and tombstones of ``email.deferred``."""

# --- keys and testing ------------------------------------------------------------------------

def dkim_sign(
    message: bytes, domain: str, selector: str, algorithm: str, pkcs8_der: bytes, now_s: int
) -> bytes:
    """The message with a DKIM-Signature in front (RFC 6376); raises ValueError."""

def dkim_generate(algorithm: str) -> bytes:
    """A new PKCS#8 DER key: "rsa" (2,048 bits) or "ed25519"."""

def dkim_publishes(record: str, found: str) -> bool:
    """Whether a TXT record found in DNS publishes the key of ``record``, as verifiers read both.

    False too where a verifier could not use it: revoked, for another service, no record at all
    (RFC 6376 section 3.6.1). White space and tags that do not bear on it may differ.
    """

def fetch_sts_policy(
    domain: str, addresses: Sequence[str], hosts: Sequence[str], ca_file: str, port: int
) -> tuple[str, int, list[str]]:
    """(mode, max_age in seconds, hosts it does not name): the MTA-STS policy a domain serves now.

    ``addresses``: of ``mta-sts.`` the domain. ``hosts``: of its MX records, lower case, no final
    dot. ``ca_file``: PEM file of authorities beside Mozilla's; empty: none. Lets the GIL go; takes
    a minute at most. Raises ValueError with what senders get instead (RFC 8461 section 3.3).
    """

def dkim_record(algorithm: str, pkcs8_der: bytes) -> str:
    """The TXT record that publishes the key (RFC 6376 section 3.6.1, RFC 8463)."""

@final
class SigningLanes:
    """Eight RSA signatures in one call of Intel's crypto_mb, each verified before it leaves."""

    def __new__(cls, directory: str) -> Self:
        """Load it from the directory the wheels ``ipp-crypto`` and ``intel-cmplr-lib-rt`` fill.

        Raises EngineError with the reason when it is not there or this CPU cannot run it.
        """
    @property
    def name(self) -> str:
        """Of the library."""
    @property
    def counts(self) -> tuple[int, int, int]:
        """(calls, requests in them, signatures that were wrong and made again) so far."""

@final
class DkimSigner:
    """A DKIM key with its domain and selector, parsed once; `postalynk.dkim.Signer` is its face."""

    def __new__(
        cls,
        domain: str,
        selector: str,
        key: bytes,
        *,
        simple: bool = False,
        timestamp: bool = True,
        expires_after_s: int | None = None,
        lanes: SigningLanes | None = None,
    ) -> Self:
        """``key``: PEM (PKCS#8, or PKCS#1 for RSA) or PKCS#8 DER; raises SigningError.

        ``lanes``: sign side by side with other threads; of use to several at a time only.
        """
    @property
    def algorithm(self) -> str:
        """rsa-sha256 or ed25519-sha256, the value of ``a=``."""
    @property
    def dns_record(self) -> str: ...
    def sign(self, message: bytes, now_s: int) -> bytes:
        """The DKIM-Signature field with its CRLF; raises SigningError."""
    def sign_many(self, messages: Sequence[bytes], now_s: int) -> list[bytes]:
        """One field per message, in order; raises SigningError naming the index."""

# --- composing -------------------------------------------------------------------------------

def mime_compose(
    *,
    from_: str,
    to: Sequence[str],
    cc: Sequence[str],
    reply_to: Sequence[str],
    subject: str,
    text: str | None,
    html: str | None,
    calendar: tuple[str, str] | None,
    headers: Sequence[tuple[str, str]],
    attachments: Sequence[tuple[str, str, str, bytes]],
    auto_text: bool,
    message_id: str,
    date_s: int,
    seed: int,
) -> tuple[bytes, int, bool]:
    """(message, octets of its header fields, needs SMTPUTF8); `postalynk.mime.compose` is its face.

    ``calendar``: (method, iCalendar object). ``attachments``: (file name, content type, content id,
    content). Raises MessageError naming the field.
    """

@final
class Sink:
    """An SMTP receiver on loopback that can misbehave; see `postalynk.testing`."""

    def __new__(
        cls,
        listen: str = "127.0.0.1:0",
        *,
        ledger: str | None = None,
        provider: str = "",
        rules: list[tuple[str, str, int, int, int, str, str]] = ...,
        chunking: bool = False,
        starttls: bool = False,
        pipelining: bool = True,
        tls_fault: str = "",
    ) -> Self:
        """``rules``: (step, text it contains, skip, times or 0, delay_ms, action, text), the first
        that matches decides. ``provider``: its manners, behind the rules. ``tls_fault``: ``cut``
        (hangs up on the first words of TLS), ``garbage`` (answers them with no TLS), ``alert``
        (refuses them) or ``expired`` (a certificate of the past).
        """
    @property
    def address(self) -> str: ...
    def received(self) -> int:
        """Messages taken."""
    def messages(self) -> list[tuple[str, str, list[str], list[str], str, int]]:
        """The latest messages: (Message-ID, reverse path, recipients, parameters of MAIL and of
        each RCPT, EHLO name, reply code or 0), oldest first.
        """
    def stop(self) -> None: ...

@final
class DelayProxy:
    """A proxy on loopback whose far side is a round trip away."""

    def __new__(cls, target: str, *, round_trip_ms: int, listen: str = "127.0.0.1:0") -> Self: ...
    @property
    def address(self) -> str: ...
    def stop(self) -> None: ...
