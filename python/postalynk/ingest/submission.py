"""SMTP in: logins and messages of `postalynk._engine.Submission`, judged as the API judges.

**Model.** A thread waits for whatever the connections hand up and judges it, a login by its API key
(any username), messages by the batch (`batches`). What comes while a batch is made durable is the
next one, so batches grow with the load; a second thread would only make them smaller (measured: a
quarter more processor time a message). What is not plainly in order goes to the event loop, one by
one, by the checks of `raw` and through the API's acceptor, so idempotency keys and the policy's
`accept` are the same ones.
**Invariants.** 250 only after the append is durable (G1). Every request is answered exactly once,
whatever fails. A revoked key ends its sessions with their next message.
**Bounds.** A connection has one request here at a time; octets are bounded per organization and in
total where they are read (`rust/submission`).
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from postalynk.errors import EngineError, SettingsError
from postalynk.ingest import idempotency, raw
from postalynk.ingest.answers import Answer, invalid
from postalynk.ingest.batches import FastPass
from postalynk.ingest.border import Submission, new_message_id
from postalynk.ingest.compose import Composer
from postalynk.ingest.idempotency import Prepared
from postalynk.ingest.intake import NOT_STORED
from postalynk.ingest.receipt import Receipt
from postalynk.observability import get_logger

if TYPE_CHECKING:
    from postalynk.ingest.border import SubmissionBatch, SubmittedMessage
    from postalynk.ingest.intake import IntakeParts
    from postalynk.model import AcceptedMessage
    from postalynk.settings import Settings

log = get_logger(__name__)

MAX_BATCH = 500
POLL_MS = 1_000

NO_SUCH_KEY = "535 5.7.8 The password is not a valid API key, or was revoked"
REVOKED = "550 5.7.1 The API key was revoked: log in with another"
NO_ORGANIZATION = "550 5.7.1 submission.trusted_networks names an organization there is not"
FAILED = "451 4.3.0 An unexpected error; it has been logged. Send it again later"

CODES = {400: "550 5.6.0", 403: "550 5.7.1", 409: "550 5.6.0", 422: "550 5.6.0", 503: "451 4.3.0"}


def bind_submission(settings: Settings) -> Submission | None:
    """Take the addresses of ``[submission]``; None when it is off. Raises SettingsError."""
    given = settings.submission
    listen = [_address(text) for text in (given.listen,) if text]
    listen_tls = [_address(text) for text in (given.listen_tls,) if text]
    if not listen and not listen_tls:
        return None
    certificate = None
    if given.tls_certificate:
        key = given.tls_key or given.tls_certificate
        certificate = (str(settings.path(given.tls_certificate)), str(settings.path(key)))
    try:
        return Submission(
            listen=listen,
            listen_tls=listen_tls,
            host=settings.delivery.ehlo or socket.gethostname(),
            certificate=certificate,
            require_tls=given.require_tls,
            max_message_bytes=given.max_message_bytes,
            max_connections=given.max_connections,
            max_connections_per_org=given.max_connections_per_org,
            trusted_networks=_trusted(settings),
        )
    except EngineError as error:
        if given == type(given)():
            # All defaults, so nobody asked for it: another instance here has the port.
            log.warning("SMTP submission is off", **{"error.message": error.message})
            return None
        raise SettingsError(
            f"[submission]: {error.message}",
            fix="choose another address, or set tls_certificate and tls_key",
        ) from error


def _address(listen: str) -> str:
    """``host:port`` with the host as an IP address."""
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"[submission]: {host} is no address here", fix="use an IP") from error
    family, *_, place = found[0]
    ip = str(place[0])
    return f"[{ip}]:{port}" if family == socket.AF_INET6 else f"{ip}:{port}"


def _trusted(settings: Settings) -> list[tuple[str, int, str]]:
    """(address, prefix length, organization) of each trusted network."""
    found = []
    for text, org in settings.submission.trusted_networks.items():
        network = ipaddress.ip_network(text)  # checked when the settings were read
        found.append((str(network.network_address), network.prefixlen, org))
    return found


class SubmissionServer:
    """Judges what comes up from an open `Submission`; belongs to one event loop."""

    def __init__(self, submission: Submission, parts: IntakeParts, host: str = "") -> None:
        """``host``: this server's name in Received; empty: the machine's."""
        self._host = host or socket.gethostname()
        self._submission = submission
        self._parts = parts
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="submission-requests")
        self._running: set[asyncio.Task[None]] = set()
        self._serving: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Serve from now on."""
        self._submission.open()
        self._loop = asyncio.get_running_loop()
        self._serving = self._loop.run_in_executor(self._thread, self._serve)

    async def close(self) -> None:
        """Answer what is under way, tell idle clients, take no more."""
        await asyncio.to_thread(self._submission.close)
        if self._serving is not None:
            await self._serving
        if self._running:
            await asyncio.wait(self._running)
        self._thread.shutdown()

    def _serve(self) -> None:
        """The thread."""
        fast = FastPass(self._parts, self._host)
        while (batch := self._submission.requests(MAX_BATCH, POLL_MS)) is not None:
            self._log_in(batch)
            if ids := batch.request_ids:
                try:
                    self._judge_batch(fast, batch)
                except Exception:
                    log.exception("judging submissions failed")
                    for request_id in ids:  # those that have their answer keep it
                        self._submission.answer(request_id, FAILED)

    def _judge_batch(self, fast: FastPass, batch: SubmissionBatch) -> None:
        judged = fast.judge(batch)
        if (apart := judged.apart) and self._loop is not None:
            self._loop.call_soon_threadsafe(self._judge_apart, apart)
        if fast.keep(judged):
            self._submission.answer_all(judged)
        else:
            for _ in judged.lanes:
                self._parts.metrics.rejected.labels(NOT_STORED.reason).inc()
            self._submission.answer_all(judged, reply(NOT_STORED))

    def _judge_apart(self, messages: Sequence[SubmittedMessage]) -> None:
        """What the fast pass says nothing of, on the event loop."""
        for message in messages:
            try:
                self._judge_message(message)
            except Exception:
                log.exception("judging a submission failed")
                self._submission.answer(message.id, FAILED)

    def _log_in(self, batch: SubmissionBatch) -> None:
        for login in batch.logins:
            try:
                grant = self._parts.directory.grant(login.password)
            except Exception:
                log.exception("judging a login failed")
                self._submission.answer(login.id, FAILED)
                continue
            if grant is None:
                self._parts.metrics.rejected.labels("invalid_api_key").inc()
                self._submission.answer(login.id, NO_SUCH_KEY)
            else:
                self._submission.admit(login.id, grant.organization.id, grant.key_prefix)

    def _judge_message(self, item: SubmittedMessage) -> None:
        parts = self._parts
        snapshot = parts.directory.snapshot
        organization = snapshot.organizations.get(item.org)
        key = snapshot.api_keys.get(item.key)
        is_revoked = item.key and (key is None or key.revoked_at_us)
        if organization is None or is_revoked:
            self._submission.answer(item.id, REVOKED if item.key else NO_ORGANIZATION)
            return
        composer = Composer(
            parts.directory,
            organization,
            parts.clock(),
            is_signing=parts.is_signing,
        )
        attempt = _Attempt(item, composer, parts, self._host)
        is_judged = parts.judge is not None and parts.judge.asked(item.org) is not None
        if item.idempotency_key or is_judged:
            self._start(item, attempt)
            return
        prepared = attempt.prepare(None)
        if isinstance(prepared, Answer):
            self._answer(item.id, prepared)
            return
        durable = parts.acceptor.submit(prepared.messages, attempt.size)
        durable.add_done_callback(lambda future: self._settled(item.id, prepared, future.result()))

    def _settled(self, id_: int, prepared: Prepared, is_durable: bool) -> None:
        if not is_durable:
            self._answer(id_, NOT_STORED)
            return
        self._parts.recent.add(prepared.messages)
        self._answer(id_, prepared.receipt.answer())

    def _start(self, item: SubmittedMessage, attempt: _Attempt) -> None:
        task = asyncio.get_running_loop().create_task(self._accept_once(item, attempt))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _accept_once(self, item: SubmittedMessage, attempt: _Attempt) -> None:
        try:
            if not item.idempotency_key:
                self._answer(item.id, await self._accept(attempt))
                return
            key = item.idempotency_key.encode()
            wrong = idempotency.check_key(key)
            answer = wrong or await self._parts.idempotency.answer(
                item.org, key, attempt.digest(), attempt
            )
            self._answer(item.id, answer)
        except Exception:
            log.exception("judging a submission failed")
            self._submission.answer(item.id, FAILED)

    async def _accept(self, attempt: _Attempt) -> Answer:
        prepared = attempt.prepare(None)
        if isinstance(prepared, Prepared):
            prepared = await attempt.judge(prepared)
        if isinstance(prepared, Answer):
            return prepared
        if not await self._parts.acceptor.submit(prepared.messages, attempt.size):
            return NOT_STORED
        attempt.accepted(prepared.receipt, prepared.messages)
        return prepared.receipt.answer()

    def _answer(self, id_: int, answer: Answer) -> None:
        if answer.reason:
            self._parts.metrics.rejected.labels(answer.reason).inc()
        self._submission.answer(id_, reply(answer))


class _Attempt:
    """One message as `Idempotency` sees it."""

    __slots__ = ("_composer", "_host", "_item", "_parts", "size")

    def __init__(
        self, item: SubmittedMessage, composer: Composer, parts: IntakeParts, host: str
    ) -> None:
        self._host = host
        self._item = item
        self._composer = composer
        self._parts = parts
        self.size = len(item.raw) + sum(len(address) for address in item.recipients)

    def prepare(self, ids: list[bytes] | None) -> Prepared | Answer:
        """The message under the id given or a fresh one; or the refusal."""
        message_id = ids[0] if ids else new_message_id(self._composer.now_us // 1000)
        try:
            message = raw.compose(self._item, self._composer, message_id, self._host)
        except raw.Refused as refused:
            return invalid([refused.problem])
        return Prepared(Receipt(message_id), [message])

    async def judge(self, prepared: Prepared) -> Prepared | Answer:
        """What the policy's `accept` leaves of it."""
        judge = self._parts.judge
        return prepared if judge is None else await judge.judged(prepared, "smtp")

    def accepted(self, _: Receipt, messages: Sequence[AcceptedMessage]) -> None:
        """These are durable now."""
        self._parts.recent.add(messages)

    def digest(self) -> bytes:
        """Equal for equal submissions, and for no request of the API."""
        item = self._item
        envelope = msgspec.json.encode(
            [item.reverse_path, item.recipients, item.tags, item.priority, item.require_tls]
        )
        return hashlib.sha256(b"smtp" + envelope + item.raw).digest()


def reply(answer: Answer) -> str:
    """An API answer as an SMTP reply that says the fix."""
    if answer.reply:
        return answer.reply
    tree = msgspec.json.decode(answer.body)
    if not answer.reason:
        return f"250 2.0.0 Accepted as {tree['id']}"
    code = CODES.get(answer.status, "451 4.3.0")
    text = tree["message"]
    for problem in tree["errors"][:1]:
        text = f"{problem['field']} {problem['value']}: {problem['message']}: {problem['fix']}"
        if problem["field"] == "RCPT TO":
            code = "550 5.1.3"
    return f"{code} {text}"
