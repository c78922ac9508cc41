"""Debian's Exim and OpenSMTPD as receivers, run from where ``scripts/receivers.sh`` unpacked them.

Debian lets only one mail server be installed, and that is Postfix. Each of these runs in a mount
namespace of its own (``tests/judges/receiver.sh``), where the users exist that it wants, with its
configuration, queue and mail in a directory of the test. Needs root.
"""

import os
import socket
import subprocess
from pathlib import Path

from tests.support.processes import ROOT, wait_for

UNPACKED = ROOT / "build/receivers"
FIRST_ID = 64_000
"""User and group numbers from here on: Debian gives them to nobody by itself."""

EXIM = """\
primary_hostname = mx.{domain}
daemon_smtp_ports = {port}
local_interfaces = {address}
spool_directory = {base}/spool
log_file_path = {base}/log/%slog
pid_file_path = {base}/exim.pid
exim_path = {root}/usr/sbin/exim4
acl_smtp_rcpt = for_us
acl_smtp_data = accept
host_lookup =
rfc1413_query_timeout = 0s
chunking_advertise_hosts = *
keep_environment =
begin acl
for_us:
  accept domains = {domain} : *.{domain}
  deny message = relaying denied
begin routers
all:
  driver = accept
  transport = inbox
begin transports
inbox:
  driver = appendfile
  maildir_format
  directory = {base}/mail
  user = Debian-exim
  group = Debian-exim
"""

OPENSMTPD = """\
listen on {address} port {port} hostname mx.{domain}
table users {{ "@" = "postbox" }}
action "in" maildir "{base}/mail" virtual <users>
match from any for domain "{domain}" action "in"
"""


class Foreign:
    """One of them: takes mail for one domain, Exim for those below too; all in one Maildir."""

    name = ""
    users: tuple[str, ...] = ()
    configuration = ""

    def __init__(self, base: Path, address: str, port: int, domain: str) -> None:
        assert os.geteuid() == 0, f"{self.name} runs as root only: run the acceptance tests as root"
        subprocess.run([ROOT / "scripts/receivers.sh"], check=True, capture_output=True)
        self.base, self.address, self.port, self.domain = base, address, port, domain
        self.process: subprocess.Popen[bytes] | None = None
        # Its daemons run as their own users and must reach the directory.
        for parent in (base, *base.parents[:-1]):
            parent.chmod(parent.stat().st_mode | 0o011)
        self.ids = {name: FIRST_ID + number for number, name in enumerate(self.users)}
        passwd = Path("/etc/passwd").read_text()
        group = Path("/etc/group").read_text()
        for name, number in self.ids.items():
            passwd += f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        (base / "passwd").write_text(passwd)
        (base / "group").write_text(group)
        self.file = base / "configuration"
        values = {"base": base, "address": address, "port": port, "domain": domain}
        self.file.write_text(self.configuration.format(**values, root=UNPACKED))
        self.owned("mail", self.users[-1])

    def owned(self, name: str, user: str) -> None:
        """A directory that belongs to one of its users."""
        (self.base / name).mkdir()
        os.chown(self.base / name, self.ids[user], self.ids[user])

    def command(self) -> list[str]:
        """What runs it in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it greets."""
        script = str(ROOT / "tests/judges/receiver.sh")
        inside = ["unshare", "--mount", script, str(UNPACKED), str(self.base), *self.command()]
        log = (self.base / "said").open("wb")
        self.process = subprocess.Popen(inside, stdout=log, stderr=log)
        wait_for(self._greets, f"{self.name} greets; it says: {self.said()}")

    def said(self) -> str:
        """What it wrote to its terminal."""
        return (self.base / "said").read_text(errors="replace")[-2_000:]

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), 5) as probe:
                return probe.recv(512).startswith(b"220")
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it and wait."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    def messages(self) -> list[bytes]:
        """What it has delivered, as stored (LF line ends)."""
        return [path.read_bytes() for path in sorted((self.base / "mail/new").glob("*"))]


class Exim(Foreign):
    """Debian's Exim: offers PIPELINING and CHUNKING."""

    name = "Exim"
    users = ("Debian-exim",)
    configuration = EXIM

    def __init__(self, base: Path, address: str, port: int, domain: str) -> None:
        super().__init__(base, address, port, domain)
        for name in ("spool", "log"):
            self.owned(name, "Debian-exim")

    def command(self) -> list[str]:
        """Looks at its queue every second, for a delivery that a crowd kept from starting."""
        return [str(UNPACKED / "usr/sbin/exim4"), "-C", str(self.file), "-bdf", "-q1s"]


class OpenSmtpd(Foreign):
    """Debian's OpenSMTPD: offers neither PIPELINING nor CHUNKING."""

    name = "OpenSMTPD"
    users = ("opensmtpd", "opensmtpq", "postbox")
    configuration = OPENSMTPD

    def __init__(self, base: Path, address: str, port: int, domain: str) -> None:
        super().__init__(base, address, port, domain)
        for place in ("spool/smtpd", "lib/opensmtpd/empty", "run"):
            (base / "smtpd" / place).mkdir(parents=True)
        (base / "smtpd/spool/smtpd").chmod(0o711)

    def command(self) -> list[str]:
        """In the foreground, verbose enough to say why it refuses."""
        return [str(UNPACKED / "usr/sbin/smtpd"), "-d", "-f", str(self.file)]
