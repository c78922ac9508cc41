"""Postfix, with or without OpenDKIM, as the baseline: relays everything to one sink.

The configuration is that of the published measurements (facts: `main.cf`, `master.cf`,
`opendkim.conf`): fsynced queue, logging on, concurrency 20, no TLS, milter on a Unix socket. Each
instance lives in its own directory and never touches the machine's Postfix. Needs root, since
Postfix's queue directories belong to its own user.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

MAIN = """\
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink_port}
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
default_process_limit = 200
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
default_destination_rate_delay = 0s
in_flow_delay = 0s
qmgr_message_active_limit = 100000
qmgr_message_recipient_limit = 100000
maillog_file = {base}/maillog
maillog_file_prefixes = {base}
"""

MILTER = """\
smtpd_milters = unix:{base}/spool/od.sock
milter_default_action = tempfail
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60   1 pickup
cleanup   unix n - n -    0 cleanup
qmgr      unix n - n 300  1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n -    - trivial-rewrite
bounce    unix - - n -    0 bounce
defer     unix - - n -    0 bounce
trace     unix - - n -    0 bounce
verify    unix - - n -    1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n -    - proxymap
smtp      unix - - n -    - smtp
relay     unix - - n -    - smtp
showq     unix n - n -    - showq
error     unix - - n -    - error
retry     unix - - n -    - error
discard   unix - - n -    - discard
anvil     unix - - n -    1 anvil
scache    unix - - n -    1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

OPENDKIM = """\
Socket local:{base}/spool/od.sock
UMask 000
Mode s
Domain example.com
Selector bench
KeyFile {base}/key.pem
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.1
ExternalIgnoreList 127.0.0.1
RequireSafeKeys no
Syslog no
"""


class Postfix:
    """One Postfix on ``port`` that relays to ``sink_port``; signs RSA-2048 when ``signed``."""

    def __init__(self, base: Path, port: int, sink_port: int, *, signed: bool) -> None:
        self.base, self.port, self.signed = base, port, signed
        self._processes: list[subprocess.Popen[bytes]] = []
        owner = pwd.getpwnam("postfix")
        names = {"base": base, "port": port, "sink_port": sink_port}
        shutil.rmtree(base, ignore_errors=True)
        (base / "etc").mkdir(parents=True)
        for parent in (base, *base.parents[:-1]):
            parent.chmod(parent.stat().st_mode | 0o011)
        (base / "spool").mkdir()
        (base / "data").mkdir()
        os.chown(base / "data", owner.pw_uid, owner.pw_gid)
        main = MAIN + (MILTER if signed else "")
        (base / "etc/main.cf").write_text(main.format(**names))
        (base / "etc/master.cf").write_text(MASTER.format(**names))
        if signed:
            (base / "opendkim.conf").write_text(OPENDKIM.format(**names))

    def start(self, key_pem: str = "") -> None:
        """Start and wait until it greets; ``key_pem`` is the RSA key OpenDKIM signs with."""
        etc = str(self.base / "etc")
        subprocess.run(["postfix", "-c", etc, "set-permissions"], check=False, capture_output=True)
        subprocess.run(["postfix", "-c", etc, "check"], check=True, capture_output=True)
        if self.signed:
            (self.base / "key.pem").write_text(key_pem)
            command = ["opendkim", "-x", str(self.base / "opendkim.conf"), "-f"]
            self._processes.append(subprocess.Popen(command))
            _wait(lambda: (self.base / "spool/od.sock").exists(), "OpenDKIM")
        command = ["postfix", "-c", etc, "start-fg"]
        self._processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        _wait(self._greets, "Postfix")

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                return probe.recv(512).startswith(b"220")
        except OSError:
            return False

    def pids(self) -> list[int]:
        """The top processes; all others are their descendants."""
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        """Stop both and wait."""
        etc = str(self.base / "etc")
        subprocess.run(["postfix", "-c", etc, "stop"], capture_output=True, check=False)
        for process in self._processes:
            process.terminate()
            process.wait(30)


def _wait(is_up: Callable[[], bool], name: str) -> None:
    for _ in range(200):
        if is_up():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{name} did not start")
