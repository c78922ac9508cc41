"""Postfix, with or without OpenDKIM, as the baseline: relays everything to one sink.

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
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
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


class Relay:
    """Postfix on ``port`` that relays to ``sink_port``; with ``key_pem`` OpenDKIM signs RSA."""

    def __init__(self, base: Path, port: int, sink_port: int, key_pem: str | None) -> None:
        main = RELAY + (MILTER if key_pem else "")
        self._postfix = Postfix(base, port, main, sink_port=sink_port)
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
