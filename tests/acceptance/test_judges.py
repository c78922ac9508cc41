"""Judges who share no code with us or each other, over the same five hundred messages.

dkimpy, OpenDKIM, Perl's Mail::DKIM and mailauth (Node) verify every signature they have the
algorithm for, and refuse each after one changed octet of a signed part. Python's `email` and
mailparser (Node) and `mail-parser` (Rust) read back what was meant. One process for each judge.
"""

import email
import email.policy
import hashlib
import json
import subprocess
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path
from typing import Any

import dkim
import pytest

from tests.support.judged import COUNT, SHOP, Corpus, Judged
from tests.support.processes import ROOT, Dns

JUDGES = ROOT / "tests/judges"
RESOLVER = "127.0.0.78"
"""An address of loopback where nobody else serves port 53, the only one libresolv asks."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Five hundred of them."""
    return Corpus(tmp_path_factory.mktemp("judged") / "messages")


def test_dkimpy(corpus: Corpus) -> None:
    def txt(name: bytes, timeout: int = 5) -> bytes:
        return corpus.records[name.decode().rstrip(".")].encode()

    def verdicts(raw: bytes) -> list[bool]:
        found = []
        for index in range(2):
            try:
                found.append(bool(dkim.DKIM(raw).verify(index, dnsfunc=txt)))
            except dkim.DKIMException:
                found.append(False)
        return found

    for message in corpus.messages:
        assert verdicts(corpus.read(message)) == [True, True], message.name
        assert verdicts(corpus.read(message, "changed.eml")) == [False, False], message.name


@pytest.fixture(scope="module")
def resolv_conf(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A resolv.conf that names a DNS server with the records of the keys."""
    base = tmp_path_factory.mktemp("dns")
    zone = [f"{name} TXT {record}" for name, record in corpus.records.items()]
    server = Dns(base, zone, f"{RESOLVER}:53")
    file = base / "resolv.conf"
    file.write_text(f"nameserver {RESOLVER}\noptions attempts:1 timeout:5\n")
    yield file
    server.stop()


def test_opendkim(corpus: Corpus, resolv_conf: Path) -> None:
    command = [
        "unshare",
        "--mount",
        str(JUDGES / "judge.sh"),
        str(corpus.directory),
        str(resolv_conf),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(said) == 4 * COUNT
    for name, verdict in said.items():
        assert (verdict == "pass") != (".changed." in name), (name, verdict)


def test_mail_dkim(corpus: Corpus) -> None:
    """Debian's version has no Ed25519 and says so."""
    command = ["perl", str(JUDGES / "judge.pl"), str(corpus.directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(said) == 2 * COUNT
    for name, verdict in said.items():
        rsa, ed25519 = verdict.split(",")
        assert rsa == ("fail" if ".changed." in name else "pass"), (name, verdict)
        assert ed25519 in {"invalid", rsa}, (name, verdict)


@pytest.fixture(scope="module")
def node(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """What the judges that run on Node say, by message."""
    subprocess.run([ROOT / "scripts/judges.sh"], check=True, capture_output=True)
    command = ["node", str(JUDGES / "judge.js"), str(corpus.directory)]
    done = subprocess.run(command, capture_output=True, check=True)
    answers = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
    assert len(answers) == COUNT
    return {answer["name"].removesuffix(".eml"): answer for answer in answers}


def test_mailauth(corpus: Corpus, node: dict[str, dict[str, Any]]) -> None:
    for message in corpus.messages:
        answer = node[message.name]
        assert answer["verdicts"] == {"rsa1": "pass", "ed1": "pass"}, message.name
        # Its word for a body whose hash differs is "neutral".
        refused = "neutral" if message.is_changed_in_body else "fail"
        assert answer["changed"] == {"rsa1": refused, "ed1": refused}, message.name


def lines_of(text: str | None) -> str:
    """Any line end is a line end; the last ones may be the boundary's."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def test_mailparser_reads_back_what_was_meant(
    corpus: Corpus, node: dict[str, dict[str, Any]]
) -> None:
    for message in corpus.messages:
        read = node[message.name]["read"]
        assert read["subject"].strip() == message.subject, message.name
        assert [tuple(who) for who in read["from"]] == [SHOP]
        assert [tuple(who) for who in read["to"]] == message.to, message.name
        assert lines_of(read["html"]) == lines_of(message.html), message.name
        assert lines_of(read["text"]) == lines_of(shown_text(corpus, message)), message.name
        expected = [
            [file.filename, hashlib.sha256(file.content).hexdigest()] for file in message.files
        ]
        attached = [row for row in read["attachments"] if "calendar" not in row[1]]
        files = [[name, digest] for name, _, digest in attached]
        assert files == expected, message.name


def test_mail_parser_reads_back_what_was_meant(corpus: Corpus) -> None:
    command = ["cargo", "run", "--quiet", "--locked", "-p", "postalynk-mime"]
    command += ["--example", "read_back", str(corpus.directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == COUNT
    found = {answer["name"]: answer for answer in answers}
    for message in corpus.messages:
        read = found[message.name]
        assert read["subject"].strip() == message.subject, message.name
        assert [tuple(who) for who in read["from"]] == [SHOP]
        assert [tuple(who) for who in read["to"]] == message.to, message.name
        assert lines_of(read["html"]) == lines_of(message.html), message.name
        assert lines_of(read["text"]) == lines_of(shown_text(corpus, message)), message.name
        files = [[f.filename, hashlib.sha256(f.content).hexdigest()] for f in message.files]
        assert read["attachments"] == files, message.name


def shown_text(corpus: Corpus, message: Judged) -> str | None:
    """The plain text that was meant; HTML alone may have been given one."""
    if message.text is not None:
        return message.text
    part = parsed(corpus, message).get_body(("plain",))
    return part.get_content() if part is not None else None


def parsed(corpus: Corpus, message: Judged) -> EmailMessage:
    found = email.message_from_bytes(corpus.read(message), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_email_reads_back_what_was_meant(corpus: Corpus) -> None:
    for message in corpus.messages:
        found = parsed(corpus, message)
        assert not found.defects, message.name
        assert found["Subject"].strip() == message.subject, message.name
        # By the older half of `email`: the newer one puts a space between two encoded words.
        folded = email.message_from_bytes(corpus.read(message))["To"].replace("\r\n", "")
        people = [(str(make_header(decode_header(n))), a) for n, a in getaddresses([folded])]
        assert people == message.to, message.name
        for kind, meant in (("plain", message.text), ("html", message.html)):
            if meant is not None:
                body = found.get_body((kind,))
                assert body is not None
                assert lines_of(body.get_content()) == lines_of(meant), message.name
        files = [
            (part.get_filename() or "", part.get_payload(decode=True))
            for part in found.walk()
            if part.get_content_disposition() == "attachment"
        ]
        assert files == [(file.filename, file.content) for file in message.files], message.name
