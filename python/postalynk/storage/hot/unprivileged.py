"""How to run PostgreSQL when we are root, which it refuses to be.

**Problem.** Containers, CI and fresh machines run us as root. PostgreSQL exits when its effective
user is root, and an ordinary account cannot reach a data directory below a parent that is closed
to others (a home directory, say).
**Model.** A `Launcher` is a command prefix and the owner the data directory must have. Two are
known and tried in this order; a probe runs the real prefix, so what is picked works here:

1. a *user namespace*: PostgreSQL sees another uid while the kernel still sees ours, so every path
   we reach, it reaches (needs the system call, which default container profiles refuse);
2. an *account* (nobody) that keeps one capability, CAP_DAC_OVERRIDE, so that closed parents stay
   passable (needs what default container profiles grant). The securebit ``no_setuid_fixup`` keeps
   access(2), by which PostgreSQL checks its own binaries, from ignoring that capability.

**Not here.** Other systems than Linux: there, do not run Postalynk as root.
**Source.** user_namespaces(7), capabilities(7); unshare(1) and setpriv(1) of util-linux.
"""

import os
import pwd
import subprocess
from pathlib import Path
from typing import NamedTuple

from postalynk.errors import StorageError

# PostgreSQL's own rule (the effective user is not root), then what it needs: its binary, the data.
_PROBE = 'test "$(id -u)" -ne 0 && test -x "$0" && test -w "$1" && cd "$1"'


class Launcher(NamedTuple):
    """A command prefix that makes root someone else, and who must own the data then."""

    prefix: tuple[str, ...]
    uid: int
    gid: int

    def own(self, directory: Path) -> None:
        """Give ``directory`` and all below it to this launcher's owner, if it is not theirs yet."""
        if os.geteuid() != 0 or directory.stat().st_uid == self.uid:
            return
        # The top last: an interrupted change of hands is then found and finished.
        for parent, _, files in os.walk(directory, topdown=False):
            for path in (*(Path(parent) / name for name in files), Path(parent)):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)


def pick_launcher(binary: Path, directory: Path) -> Launcher:
    """The first launcher by which ``binary`` can run in ``directory``; none is needed off root.

    Raises StorageError naming what to change when no way works.
    """
    if os.geteuid() != 0:
        return Launcher((), os.geteuid(), os.getegid())
    reasons = []
    for launcher in _candidates(_account()):
        reason = _probe(launcher, binary, directory)
        if not reason:
            return launcher
        reasons.append(f"{launcher.prefix[0]}: {reason}")
    why = "; ".join(reasons)
    raise StorageError(
        f"PostgreSQL does not run as root and cannot run as another user here: {why}",
        fix="run Postalynk as an ordinary user, or set hot.url to a postgresql:// server",
    )


def _candidates(account: pwd.struct_passwd) -> tuple[Launcher, Launcher]:
    uid, gid = account.pw_uid, account.pw_gid
    namespace = ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}")
    capability = (
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )
    return Launcher(namespace, 0, 0), Launcher(capability, uid, gid)


def _account() -> pwd.struct_passwd:
    """An account that exists, since PostgreSQL looks its user's name up."""
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0]
    for account in accounts:
        if account.pw_name == "nobody":
            return account
    if accounts:
        return accounts[0]
    raise StorageError(
        "PostgreSQL does not run as root, and this system has no other account",
        fix="add one (useradd --system postalynk) and run Postalynk as it",
    )


def _probe(launcher: Launcher, binary: Path, directory: Path) -> str:
    """Why this launcher cannot do it; empty when it can."""
    command = [*launcher.prefix, "/bin/sh", "-c", _PROBE, str(binary), str(directory)]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if probe.returncode == 0:
        return ""
    return probe.stderr.strip() or f"cannot reach {directory} or {binary}"
