"""G1: the disk refuses an fsync, and the process stops before it can lie about anything."""

import subprocess
import time
from pathlib import Path

from postalynk.policy import DEV
from tests.chaos.submitters import Submitters
from tests.support.processes import Postalynk, Sink, wait_for

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Once the file $FSYNC_COUNTS_FROM exists, the fsync and fdatasync calls on files below
   $FSYNC_FAILS_BELOW are counted; after $FSYNC_FAILS_AFTER of them every one fails with EIO. */
static atomic_long calls;

static int fails(int fd) {
    const char *below = getenv("FSYNC_FAILS_BELOW"), *from = getenv("FSYNC_COUNTS_FROM");
    const char *after = getenv("FSYNC_FAILS_AFTER");
    char link[64], path[PATH_MAX];
    if (!below || !from || !after || access(from, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, below, strlen(below)) != 0) return 0;
    return atomic_fetch_add(&calls, 1) >= atol(after);
}

int fsync(int fd) {
    static int (*real)(int);
    if (fails(fd)) { errno = EIO; return -1; }
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (fails(fd)) { errno = EIO; return -1; }
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
"""
AFTER = 25
"""Enough to fall amid acceptances, outcomes and commits alike."""
MESSAGES = 600


def build_shim(directory: Path) -> Path:
    """The shim as a shared library."""
    source, library = directory / "fsync_fails.c", directory / "fsync_fails.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def test_a_failing_fsync_stops_the_process_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """What runs: `postalynk up`, four clients, the sink. What breaks: from some moment on, every
    fsync of the queue's files fails with EIO. What holds: the process stops by itself and says why;
    started on a healthy disk, it delivers every message whose request was ever answered, and the
    audit is clean.
    """
    moment = tmp_path / "the disk fails"
    sink = Sink(tmp_path)
    queue = tmp_path / "pl/data/queue"
    target = Postalynk(
        tmp_path / "pl",
        sink.address,
        # Retries within seconds, so that what was in doubt is sent again before the count.
        settings=f'[policy]\npath = "{DEV}"\n',
        environ={
            "LD_PRELOAD": str(build_shim(tmp_path)),
            "FSYNC_FAILS_BELOW": str(queue.resolve()),
            "FSYNC_COUNTS_FROM": str(moment),
            "FSYNC_FAILS_AFTER": str(AFTER),
        },
    )
    try:
        target.start().prepare()
        clients = Submitters(target, clients=4, messages=MESSAGES, pause_s=0.005)
        clients.start()
        wait_for(lambda: len(clients.acknowledged) > MESSAGES // 10, "some are acknowledged")
        moment.touch()
        assert target.process is not None
        process = target.process
        wait_for(lambda: process.poll() is not None, "the process stops by itself")
        assert process.returncode != 0
        assert "storage failed" in target.log()
        # Those in flight have been refused or broken off; nothing is answered any more.
        time.sleep(0.5)
        acknowledged = dict(clients.acknowledged)
        assert len(acknowledged) < MESSAGES

        moment.unlink()
        target.start()
        clients.join(300)
        assert not clients.contradictions
        # An answer given before the failure is the answer of that key for ever.
        assert acknowledged.items() <= clients.acknowledged.items()
        # What was in doubt, or parked behind a slow receiver, is owed too: a deferral is no end.
        wait_for(lambda: _is_over(target), "nothing is queued or deferred", 120)
        report = target.ask("audit")
        assert (report["unaccounted"], report["twice"]) == ([], [])
        arrived = {message_id.partition("@")[0] for message_id, _ in sink.received()}
        assert set(clients.acknowledged.values()) <= arrived
    finally:
        target.remove()
        sink.stop()


def _is_over(target: Postalynk) -> bool:
    state = target.ask("drain", "--timeout", "120s")
    return bool(state["drained"]) and state["deferred"] == 0
