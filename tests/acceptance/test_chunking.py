"""The operator says for which domains, and for which sites, mail leaves in chunks.

What runs: `postalynk up`, and Debian's Exim, which offers CHUNKING, as the receiver of three
domains: two behind one MX host, one behind another. What breaks: nothing; CHUNKING is switched off
for one of the two, and for the site of the other host. What holds: Exim's own log says that BDAT
was used for the one domain and not for the others, `postalynk why` shows the same commands, and all
mail arrives.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreign import Exim
from tests.support.processes import Dns, Postalynk, free_port, wait_for

DOMAIN = "exim.example"
ON, OFF, SITE_OFF = (f"{name}.{DOMAIN}" for name in ("on", "off", "site-off"))
SETTINGS = f"""
[delivery.chunking.domains]
"{OFF}" = false
[delivery.chunking.sites]
"far.example" = false
"""
ROUNDS = 3


@pytest.fixture
def exim() -> Iterator[Exim]:
    """Debian's Exim on a port of its own."""
    with tempfile.TemporaryDirectory(prefix="postalynk-chunking-") as base:
        receiver = Exim(Path(base), "127.0.0.11", free_port(), DOMAIN)
        try:
            receiver.start()
            yield receiver
        finally:
            receiver.stop()


def by_log(exim: Exim) -> Counter[tuple[str, bool]]:
    """(recipient's domain, whether Exim notes CHUNKING, a ``K``) of each message it took."""
    log = (exim.base / "log/mainlog").read_text()
    taken = dict(re.findall(r"^\S+ \S+ (\S+) <= (.*)$", log, re.MULTILINE))
    given = re.findall(r"^\S+ \S+ (\S+) => \S+ <\S+@(\S+)>", log, re.MULTILINE)
    return Counter((domain, " K " in taken[number]) for number, domain in given)


def by_why(postalynk: Postalynk, message_id: str) -> tuple[str, bool]:
    """(recipient's domain, whether BDAT was said) of the attempt that delivered a message."""
    told = postalynk.command("why", message_id).stdout
    (domain,) = set(re.findall(r"RCPT TO:<ada@([^>]+)>", told))
    (verb,) = set(re.findall(r"C: (BDAT|DATA)\b", told))
    return domain, verb == "BDAT"


def test_it_is_used_where_it_is_not_switched_off(exim: Exim, tmp_path: Path) -> None:
    zone = [
        f"{ON} MX 10 mx.{DOMAIN}",
        f"{OFF} MX 10 mx.{DOMAIN}",
        f"{SITE_OFF} MX 10 mx.far.example",
        f"mx.{DOMAIN} A {exim.address}",
        f"mx.far.example A {exim.address}",
    ]
    dns = Dns(tmp_path, zone, "127.0.0.1:0")
    settings = f'[delivery.smtp]\nport = {exim.port}\n[dns]\nservers = ["{dns.address}"]\n'
    postalynk = Postalynk(
        tmp_path / "p", delivery="transcript_sample = 1\n", settings=settings + SETTINGS
    )
    expected = dict.fromkeys([(ON, True), (OFF, False), (SITE_OFF, False)], ROUNDS)
    try:
        postalynk.start().prepare()
        sent: list[str] = []
        # In turn, so that each could go on with a connection that another left open.
        for _ in range(ROUNDS):
            for domain in (ON, OFF, SITE_OFF):
                sent.append(postalynk.send(to=f"ada@{domain}"))
                postalynk.wait_state(sent[-1], "delivered")
        assert Counter(by_why(postalynk, message_id) for message_id in sent) == expected
        wait_for(lambda: len(exim.messages()) == len(sent), "all arrive")
    finally:
        postalynk.remove()
        dns.stop()
    assert by_log(exim) == expected
