"""Debian's Postfix in a directory of its own: the receiver in tests, the baseline in benchmarks.

It never touches the machine's Postfix. Needs root, since its queue belongs to its own user.
"""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from tests.support.processes import wait_for

COMMON = """\
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
mail_owner = postfix
setgid_group = postdrop
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
default_process_limit = 200
in_flow_delay = 0s
maillog_file = {base}/maillog
maillog_file_prefixes = {base}
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
virtual   unix - n n -    - virtual
anvil     unix - - n -    1 anvil
scache    unix - - n -    1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

RECEIVING = """\
myhostname = mx.rcpt.example
mydestination =
virtual_mailbox_domains = rcpt.example
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access
  inline:{{ {{later@rcpt.example = 450 4.2.0 Greylisted, try again}} }}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {base}/tls.pem
smtpd_tls_key_file = {base}/tls.pem
smtpd_tls_received_header = yes
"""


class Postfix:
    """One Postfix on ``port`` with ``main`` as the rest of its main.cf."""

    def __init__(self, base: Path, port: int, main: str, **names: object) -> None:
        self.base, self.port = base, port
        self.process: subprocess.Popen[bytes] | None = None
        owner = pwd.getpwnam("postfix")
        shutil.rmtree(base, ignore_errors=True)
        for part in ("etc", "spool", "data", "mail"):
            (base / part).mkdir(parents=True)
        # Its daemons run as their own user and must reach the directory.
        for parent in (base, *base.parents[:-1]):
            parent.chmod(parent.stat().st_mode | 0o011)
        for part in ("data", "mail"):
            os.chown(base / part, owner.pw_uid, owner.pw_gid)
        values = {"base": base, "port": port, "uid": owner.pw_uid, "gid": owner.pw_gid, **names}
        (base / "etc/main.cf").write_text((COMMON + main).format(**values))
        (base / "etc/master.cf").write_text(MASTER.format(**values))

    def start(self) -> None:
        """Start it and wait until it greets."""
        etc = str(self.base / "etc")
        subprocess.run(["postfix", "-c", etc, "check"], check=True, capture_output=True)
        command = ["postfix", "-c", etc, "start-fg"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self._greets, "Postfix greets")

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                return probe.recv(512).startswith(b"220")
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it and wait."""
        etc = str(self.base / "etc")
        subprocess.run(["postfix", "-c", etc, "stop"], capture_output=True, check=False)
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


class Receiver(Postfix):
    """Takes mail for rcpt.example, offers STARTTLS, keeps all in one Maildir.

    Other domains are refused with 554 5.7.1; later@rcpt.example is put off with 450 4.2.0, always.
    """

    def __init__(self, base: Path, port: int) -> None:
        super().__init__(base, port, RECEIVING)
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=mx.rcpt.example", "-keyout", base / "key", "-out", base / "cert"),
            ],
            check=True,
            capture_output=True,
        )
        pem = (base / "key").read_text() + (base / "cert").read_text()
        (base / "tls.pem").write_text(pem)

    def messages(self) -> list[bytes]:
        """What it has delivered, as stored (LF line ends)."""
        return [path.read_bytes() for path in sorted((self.base / "mail/inbox/new").glob("*"))]

    def message(self, message_id: str) -> bytes:
        """A delivered copy of the message with this left part of its Message-ID; waits for it."""
        field = f"message-id: <{message_id}@".encode()
        found: list[bytes] = []

        def is_there() -> bool:
            found.extend(raw for raw in self.messages() if field in raw.lower())
            return bool(found)

        # Postfix answers 250 once the message is in its queue, a moment before it is in a Maildir.
        wait_for(is_there, f"Postfix delivers {message_id}")
        return found[0]

    def log(self) -> str:
        """Its log."""
        return (self.base / "maillog").read_text()
