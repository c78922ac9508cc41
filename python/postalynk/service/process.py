"""One process from first socket to last commit.

**Roles.** With the embedded queue one process does everything (`EVERYTHING`), or all but sending,
which holds the mail. On Kafka accept, worker and recorder may be processes of their own, as many of
the first two as wanted.
**Order.** Opening goes bottom up: queue, control state, PostgreSQL, engine, worker (which restores
before it fetches), recorder, listeners; only then is the process ready. Closing is the reverse, so
nothing is accepted that nobody would work on, and what the worker has recorded is projected before
PostgreSQL stops. PostgreSQL may be absent at any time: it is a projection.
**Owner.** Everything here runs in one event loop and the worker's threads; the embedded queue
belongs to exactly one such process. On Kafka every process follows ``email.config``, whoever
changes it.
"""

import asyncio
import gc
import signal
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import uvloop

from postalynk.control.operations import Control
from postalynk.control.schedule import Schedule
from postalynk.control.suppressions import Suppressions
from postalynk.control.values import PARTITION, TOPIC
from postalynk.engine import Engine, open_engine
from postalynk.errors import PostalynkError, SettingsError, StorageError
from postalynk.ingest.app import IngestContext, Readiness, build_app, intake_parts
from postalynk.ingest.border import Submission
from postalynk.ingest.submission import SubmissionServer, bind_submission
from postalynk.observability import Metrics, QueueDepth, configure_logs, get_logger
from postalynk.policy import DEFAULT, Policies, Pools
from postalynk.policy import load as load_policies
from postalynk.queue import AnyQueue, open_queue
from postalynk.queue.native import EmbeddedQueue
from postalynk.queue.protocol import Queue
from postalynk.recorder.codec import RecordCodec
from postalynk.recorder.projection import Recorder
from postalynk.service import accounting
from postalynk.service.canary import CanaryWatch
from postalynk.service.client import SOCKET_NAME, control_directory
from postalynk.service.control_app import control_app
from postalynk.service.dead_letter import Letter, Pace, Redrive
from postalynk.service.listener import Listener, bind, bind_unix
from postalynk.service.metrics_app import metrics_app
from postalynk.service.operations import LiveOperations, LiveParts, open_control
from postalynk.service.policies import PolicySwitch
from postalynk.service.redriving import AutomaticRedrive
from postalynk.service.rotation import KeyRotation
from postalynk.service.tls_sender import TlsReportSender
from postalynk.settings import Settings
from postalynk.storage.hot.embedded import EmbeddedPostgres
from postalynk.storage.hot.reader import HotReader
from postalynk.worker.parts import Parts, WorkerOptions, wall_us
from postalynk.worker.pipeline import Worker

DRAIN_S = 30.0
RETENTION_EVERY_S = 60.0
CANARY_EVERY_S = 1.0
# Garbage that only a collection can free is rare here, while a batch makes tens of thousands of
# objects: at Python's 700 its collector takes a tenth of the main thread (first-light, unsigned).
COLLECT_AFTER_OBJECTS = 20_000

Role = Literal["api", "worker", "recorder"]
EVERYTHING: frozenset[Role] = frozenset({"api", "worker", "recorder"})

log = get_logger(__name__)


def policy_directory(settings: Settings) -> Path:
    """The operator's policy, or the one shipped with Postalynk."""
    return settings.path(settings.policy.path) if settings.policy.path else DEFAULT


@dataclass
class InForce:
    """What decides where nothing is sent; a worker has it in its `Parts`."""

    policies: Policies
    pools: Pools = field(default_factory=lambda: Pools(()))
    metrics: Metrics = field(default_factory=Metrics)
    faults: Counter[str] = field(default_factory=Counter)
    """As in a worker's; a canary is watched where workers are."""
    schedule: Schedule = field(kw_only=True)


class Process:
    """`postalynk up`, its parts as processes of their own, and the inside of `postalynk dev`."""

    operations: LiveOperations

    def __init__(
        self,
        settings: Settings,
        *,
        roles: frozenset[Role] = EVERYTHING,
        is_sink_only: bool = False,
        log_level: str = "info",
        progress: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """``api`` is the HTTP API and SMTP submission. ``is_sink_only``: nothing leaves but to the
        smart host. ``progress`` is told each step in words. Raises SettingsError when the queue
        cannot be shared as ``roles`` would have it.
        """
        if not settings.queue.is_kafka and "recorder" not in roles:
            raise SettingsError(
                "the embedded queue belongs to one process, which does everything",
                fix="postalynk up, or queue.url = kafka://…",
            )
        self._settings = settings
        self._roles = roles
        self._is_sink_only = is_sink_only
        self._log_level = log_level
        self._progress = progress
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    def run(self, on_ready: Callable[[], None]) -> int:
        """Open everything, call ``on_ready``, stay until SIGTERM, SIGINT or `stop`; exit status."""
        configure_logs(self._log_level)
        uvloop.run(self._main(on_ready))
        if self._failure is not None:
            raise PostalynkError(
                f"the worker stopped: {self._failure}", fix="nothing is lost; look at the log"
            ) from self._failure
        return 0

    def stop(self) -> None:
        """End `run` as SIGTERM would; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)

    def _on_failure(self, error: BaseException) -> None:
        self._failure = error
        self.stop()

    async def _main(self, on_ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._ending.set)
        async with AsyncExitStack() as opened:
            await self._open(opened)
            _settle_memory()
            on_ready()
            await self._ending.wait()
            self._progress("draining")

    async def _open(self, opened: AsyncExitStack) -> None:
        """Everything, bottom up; ``opened`` closes it top down."""
        settings, roles = self._settings, self._roles
        # Bound first: an address in use should not cost a restore.
        api = bind(settings.api.listen, "api.listen") if "api" in roles else None
        submission = bind_submission(settings) if "api" in roles else None
        exposed = bind(settings.metrics.listen, "metrics.listen")
        directory = control_directory(settings)
        directory.mkdir(parents=True, exist_ok=True)
        queue = open_queue(settings)
        opened.callback(queue.close)
        self._progress("; ".join([f"queue open at {settings.queue.url}", *queue.recovery]))
        control = open_control(settings, queue)
        dsn = await self._open_postgres(opened)
        live = LiveParts(HotReader(dsn), asyncio.get_running_loop(), settings.tls_reports, dsn)
        deciding = await self._open_worker(opened, queue, control, live)
        opened.push_async_callback(live.reader.close)
        if "recorder" in roles:
            live.recorder = self._open_recorder(opened, queue, dsn)
        self._start_daily(opened, queue, control, live)
        if live.worker is not None:
            # Above the recorder, so that what the last transactions come to is still projected.
            opened.push_async_callback(asyncio.to_thread, live.worker.drain, DRAIN_S)
        if live.canary is not None:
            self._run_beside(opened, _watch(live.canary))
        self._follow(queue, control)
        self.operations = LiveOperations(queue, control, live, settings)
        self._mind_letters(opened, queue, live)
        if "recorder" in roles:
            deciding.metrics.watch_queue(
                lambda: [
                    QueueDepth(d.lane, d.waiting, d.oldest_age_s) for d in accounting.depth(queue)
                ]
            )
        engine = live.parts.engine if live.parts is not None else None
        scraped = metrics_app(deciding.metrics, engine, live.recorder, submission)
        await self._listen(opened, scraped, exposed)
        await self._listen(opened, control_app(self.operations), bind_unix(directory / SOCKET_NAME))
        if api is not None:
            context = IngestContext(
                queue=_in_a_hurry(queue, settings),
                directory=control.directory,
                reader=live.reader,
                readiness=partial(_readiness, live),
                metrics=deciding.metrics,
                templates=control,
                scheduling=deciding.schedule,
                settings=settings.api,
                policies=lambda: deciding.policies,
                policy_faults=deciding.faults,
                is_signing=settings.delivery.sign,
            )
            await self._open_doors(opened, context, api, submission)

    def _follow(self, queue: AnyQueue, control: Control) -> None:
        """Take over what other processes change."""
        if not isinstance(queue, EmbeddedQueue):
            queue.watch(TOPIC, PARTITION, control.reload)

    async def _open_doors(
        self,
        opened: AsyncExitStack,
        context: IngestContext,
        api: socket.socket,
        submission: Submission | None,
    ) -> None:
        """HTTP, and SMTP where it is on: one intake behind both."""
        settings = self._settings
        accepting = intake_parts(context)
        await self._listen(opened, build_app(context, accepting), api)
        self._progress(f"API on http://{settings.api.listen}")
        if submission is not None:
            server = SubmissionServer(submission, accepting, settings.delivery.ehlo)
            server.open()
            opened.push_async_callback(server.close)
            self._progress(f"SMTP submission on {', '.join(submission.addresses)}")

    def _mind_letters(self, opened: AsyncExitStack, queue: AnyQueue, live: LiveParts) -> None:
        """Show halted partitions; put back dead letters that this release is known to process."""
        if (parts := live.parts) is not None:
            parts.metrics.halted_partitions.set_function(lambda: len(parts.halts.halted()))
        if live.recorder is None:
            return  # one process of a fleet does it: there is one recorder

        def put_back(chosen: Sequence[Letter], pace: Pace) -> Redrive:
            return self.operations.put_back(chosen, "rule", pace, is_dry_run=False)

        job = AutomaticRedrive(queue, self._settings.dead_letters, put_back)
        running = asyncio.create_task(job.run())
        running.add_done_callback(self._task_ended)
        opened.push_async_callback(job.stop, running)

    def _start_daily(
        self, opened: AsyncExitStack, queue: AnyQueue, control: Control, live: LiveParts
    ) -> None:
        """What looks after keys and reports, now and then."""
        settings = self._settings
        noted = control_directory(settings) / "tls-report.sent"
        jobs: list[KeyRotation | TlsReportSender] = []
        if "api" in self._roles or not settings.queue.is_kafka:
            jobs.append(KeyRotation(settings, control))
        if live.parts is not None:
            jobs.append(TlsReportSender(settings, (queue, control, live.parts.engine), noted))
        for job in jobs:
            running = asyncio.create_task(job.run())
            running.add_done_callback(self._task_ended)
            opened.push_async_callback(job.stop, running)

    async def _open_worker(
        self, opened: AsyncExitStack, queue: AnyQueue, control: Control, live: LiveParts
    ) -> Parts | InForce:
        """What decides, and in a worker what sends; both follow the control state."""
        switch = PolicySwitch(load_policies(policy_directory(self._settings)))
        if "worker" not in self._roles:
            deciding = InForce(
                switch.in_force(control.directory), schedule=Schedule(queue, wall_us)
            )

            def decide() -> None:
                deciding.policies = switch.in_force(control.directory)

            control.subscribe(decide)
            return deciding
        parts = self._open_engine(opened, queue, control, switch)
        worker = Worker(parts)
        await asyncio.to_thread(worker.start)
        opened.callback(worker.stop)
        live.parts, live.worker = parts, worker
        live.canary = CanaryWatch(queue, control, parts)
        self._progress(f"worker running, policy {parts.policies.version}")
        return parts

    def _open_engine(
        self, opened: AsyncExitStack, queue: AnyQueue, control: Control, switch: PolicySwitch
    ) -> Parts:
        """The engine with keys and pools that follow the control state."""
        settings = self._settings
        directory = control_directory(settings)
        engine = open_engine(settings, directory, is_sink_only=self._is_sink_only)
        opened.callback(engine.stop)
        parts = Parts(
            queue=queue,
            engine=engine,
            policies=switch.in_force(control.directory),
            pools=Pools(()),
            options=WorkerOptions.of(settings),
            metrics=Metrics(),
            on_failure=self._on_failure,
        )

        def configure() -> None:
            engine.configure(control.directory.egress_json())
            engine.set_signers(control.directory.signers())
            parts.pools = Pools(control.directory.members())
            parts.policies = switch.in_force(control.directory)

        configure()
        control.subscribe(configure)
        _suppress(engine, control.suppressions)
        return parts

    def _open_recorder(
        self, opened: AsyncExitStack, queue: AnyQueue, dsn: Callable[[], str]
    ) -> Recorder:
        """The projection and the retention of the log behind it."""
        recorder = Recorder(queue, dsn, codec=RecordCodec(), now_us=wall_us)
        recording = asyncio.create_task(recorder.run())
        recording.add_done_callback(self._task_ended)
        opened.push_async_callback(recorder.stop)
        if isinstance(queue, EmbeddedQueue):
            self._run_beside(opened, _retain(queue.apply_retention))
        return recorder

    def _run_beside(self, opened: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until we close; if it fails, so does the process."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._task_ended)

        async def end() -> None:
            task.cancel()
            # A thread it waits for may still be reading the queue.
            await asyncio.wait([task])

        opened.push_async_callback(end)

    async def _open_postgres(self, opened: AsyncExitStack) -> Callable[[], str]:
        """Where PostgreSQL is; a failure to start it is reported and mail goes on without it."""
        url = self._settings.hot.url
        scheme, _, place = url.partition(":")
        if scheme != "embedded":
            return lambda: url
        server = EmbeddedPostgres(self._settings.path(place))
        if "recorder" not in self._roles:
            return lambda: server.dsn  # the recorder's, where both are on one machine
        opened.push_async_callback(asyncio.to_thread, server.stop)
        try:
            await asyncio.to_thread(server.start, self._progress)
        except StorageError as error:
            log.error("PostgreSQL cannot be started; mail goes on", error=str(error))
            self._progress(f"PostgreSQL cannot be started, mail goes on without it: {error}")
        return lambda: server.dsn

    async def _listen(
        self, opened: AsyncExitStack, app: Callable[..., Any], bound: socket.socket
    ) -> None:
        listener = await Listener.open(app, bound)
        opened.push_async_callback(listener.close)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)


def _suppress(engine: Engine, lists: Suppressions) -> None:
    """Let the engine know the suppression lists, now and after every change."""

    def tell(org: str) -> None:
        rows = [(e.address, e.created_at_us, e.until_us, e.reason) for e in lists.of(org)]
        engine.suppress(org, rows)

    lists.subscribe(tell)
    lists.reload()


def _settle_memory() -> None:
    """Leave what was made at start out of all later collections, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])


async def _retain(apply: Callable[[], int]) -> None:
    while True:
        await asyncio.sleep(RETENTION_EVERY_S)
        dropped = await asyncio.to_thread(apply)
        if dropped:
            log.info("retention dropped records", records=dropped)


async def _watch(canary: CanaryWatch) -> None:
    while True:
        await asyncio.sleep(CANARY_EVERY_S)
        if canary.is_on:
            await asyncio.to_thread(canary.once)


def _in_a_hurry(queue: AnyQueue, settings: Settings) -> Queue:
    """For accept: who waits for an answer is told in time that there is none."""
    if isinstance(queue, EmbeddedQueue):
        return queue
    return queue.hurried(settings.queue.append_timeout_s)


def _readiness(live: LiveParts) -> Readiness:
    is_working = live.worker is None or live.worker.alive()
    checks = {"queue": "ok"}
    if live.worker is not None:
        checks["worker"] = "ok" if is_working else "stopped"
        halted = len(live.worker.halts.halted())
        checks["partitions"] = f"{halted} halted, see `postalynk queue`" if halted else "ok"
    if live.recorder is not None:
        is_projecting = live.recorder.progress.is_connected
        checks["postgresql"] = "ok" if is_projecting else "out of reach; mail goes on"
    return Readiness(is_ready=is_working, checks=checks)
