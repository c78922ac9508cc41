"""Postfix as the baseline: relays to one sink, with or without OpenDKIM, or only takes mail in.

The configuration is that of published measurements: fsynced queue, logging on, concurrency 20, no
TLS, OpenDKIM as a milter on a Unix socket.
"""

import subprocess
from pathlib import Path

from tests.support.postfix import Postfix
from tests.support.processes import wait_for

RELAY = """\
myhostname = bench.example
mydestination =
local_recipient_maps =
relayhost = [127.0.0.1]:{sink_port}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
default_destination_concurrency_limit = {concurrency}
initial_destination_concurrency = {concurrency}
default_destination_rate_delay = 0s
qmgr_message_active_limit = 100000
qmgr_message_recipient_limit = 100000
"""

MILTER = """\
smtpd_milters = unix:{base}/spool/od.sock
milter_default_action = tempfail
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


HOLD = """\
myhostname = bench.example
mydestination =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_data_restrictions = check_client_access static:HOLD
smtpd_tls_security_level = none
"""


class Relay:
    """Postfix on ``port`` that relays to ``sink_port``; with ``key_pem`` OpenDKIM signs RSA."""

    def __init__(
        self, base: Path, port: int, sink_port: int, key_pem: str | None, concurrency: int = 20
    ) -> None:
        main = RELAY + (MILTER if key_pem else "")
        self.port = port
        self._postfix = Postfix(base, port, main, sink_port=sink_port, concurrency=concurrency)
        self._opendkim: subprocess.Popen[bytes] | None = None
        if key_pem:
            (base / "key.pem").write_text(key_pem)
            (base / "opendkim.conf").write_text(OPENDKIM.format(base=base))
            command = ["opendkim", "-x", str(base / "opendkim.conf"), "-f"]
            self._opendkim = subprocess.Popen(command)
            wait_for((base / "spool/od.sock").exists, "OpenDKIM listens")
        self._postfix.start()

    def pids(self) -> list[int]:
        """The top processes; all others are their descendants."""
        return [p.pid for p in (self._postfix.process, self._opendkim) if p is not None]

    def stop(self) -> None:
        """Stop both and wait."""
        self._postfix.stop()
        if self._opendkim is not None:
            self._opendkim.terminate()
            self._opendkim.wait(30)


class Intake:
    """Postfix on ``port`` that makes every message durable and delivers none."""

    def __init__(self, base: Path, port: int) -> None:
        self.port = port
        self._postfix = Postfix(base, port, HOLD)
        self._hold = base / "spool/hold"
        self._postfix.start()

    @property
    def pid(self) -> int:
        """The top process; all others are its descendants."""
        assert self._postfix.process is not None
        return self._postfix.process.pid

    def held(self) -> int:
        """Messages in the hold queue."""
        return sum(1 for path in self._hold.rglob("*") if path.is_file())

    def stop(self) -> None:
        """Stop it and wait."""
        self._postfix.stop()
