"""SMTP in, judged from outside: programs that know nothing of us submit, others receive.

What runs: `postalynk up` with SMTP submission; Postfix or the sink behind it. What breaks:
keys, senders, line ends, clients that dribble, SIGKILL amid the traffic. What holds: G1, what was
answered 250 arrives, once and signed; G7, what is wrong is refused with code and fix.
"""

import contextlib
import email
import email.policy
import json
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import dkim
import pytest

from tests.support.postfix import Receiver
from tests.support.processes import ROOT, Postalynk, Sink, wait_for

SUBJECT = "Hello {}: za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144"
UGLY = ".\r\n..\r\n.x\r\n\r\nZa\u017c\u00f3\u0142\u0107 \0 " + "x" * 990 + "\r\n. \r\n"


def mail(subject: str = "Hello", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.com>"
    message["To"] = "Ada <ada@rcpt.example>"
    message["Subject"] = subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Hi\n.\n..\n")
    return message


def log_in(target: Postalynk) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", target.smtp_port, timeout=30)
    client.login("postalynk", target.api_key)
    return client


def accepted_id(text: bytes) -> str:
    assert text.startswith(b"2.0.0 Accepted as "), text
    return text.rpartition(b" ")[2].decode()


def more_than(known: list[str], count: int) -> bool:
    return len(known) > count


def submit(client: smtplib.SMTP, content: bytes, *recipients: str) -> str:
    """The id of a message that was accepted."""
    assert client.mail("shop@example.com", ["BODY=8BITMIME"])[0] == 250
    for recipient in recipients or ("ada@rcpt.example",):
        assert client.rcpt(recipient)[0] == 250
    code, text = client.data(content)
    assert code == 250, text
    return accepted_id(text)


def test_smtplib_submits_and_postfix_receives_it_signed(
    to_postfix: Postalynk, receiver: Receiver
) -> None:
    message = mail("Z smtplib", Bcc="hidden@rcpt.example", X_Postalynk_Tag="kind=order")
    with log_in(to_postfix) as client:
        assert client.send_message(message) == {}
        sent = submit(
            client,
            mail("twice").as_bytes(policy=email.policy.SMTP),
            "ada@rcpt.example",
            "ben@rcpt.example",
        )
    to_postfix.wait_states(sent, "delivered", "delivered")
    arrived = receiver.message(sent)
    read = email.message_from_bytes(arrived, policy=email.policy.default)
    assert read["subject"] == "twice"
    assert read["message-id"] == f"<{sent}@example.com>"
    assert read["date"].datetime is not None
    assert read.get_content().replace("\r\n", "\n") == "Hi\n.\n..\n"
    published = {r["name"]: r["value"].encode() for r in to_postfix.records if r["type"] == "TXT"}
    assert dkim.verify(arrived, dnsfunc=lambda name, timeout=5: published.get(name.decode()[:-1]))


def test_an_ugly_body_passes_unchanged(to_postfix: Postalynk, receiver: Receiver) -> None:
    content = f"From: shop@example.com\r\nMessage-ID: <ugly@example.com>\r\n\r\n{UGLY}".encode()
    with log_in(to_postfix) as client:
        sent = submit(client, content)
    to_postfix.wait_state(sent, "delivered")
    arrived = receiver.message("ugly").replace(b"\r\n", b"\n")
    assert arrived.partition(b"\n\n")[2] == UGLY.encode().replace(b"\r\n", b"\n")


def test_swaks_submits_without_a_special_case(live: Postalynk) -> None:
    done = subprocess.run(
        [
            *("swaks", "--server", f"127.0.0.1:{live.smtp_port}", "--auth", "PLAIN,LOGIN"),
            *("--auth-user", "postalynk", "--auth-password", live.api_key, "--pipeline"),
            *("--from", "shop@example.com", "--to", "ada@rcpt.example"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "Accepted as" in line]
    live.wait_state(line.rpartition(" ")[2], "delivered")


def test_nodemailer_submits_without_a_special_case(
    to_postfix: Postalynk, receiver: Receiver
) -> None:
    subprocess.run([ROOT / "scripts/judges.sh"], check=True, capture_output=True)
    script = str(ROOT / "tests/judges/submit.js")
    done = subprocess.run(
        ["node", script, str(to_postfix.smtp_port), to_postfix.api_key],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(len(a["accepted"]), a["rejected"]) for a in answers] == [(2, [])] * 3
    for number, answer in enumerate(answers, 1):
        sent = answer["response"].rpartition(" ")[2]
        to_postfix.wait_states(sent, "delivered", "delivered")
        assert to_postfix.request("GET", f"/emails/{sent}")[1]["subject"] == SUBJECT.format(number)
    arrived = [m for m in map(parsed, receiver.messages()) if m["subject"] == SUBJECT.format(3)]
    assert len(arrived) == 2
    (attached,) = arrived[0].iter_attachments()
    assert attached.get_content() == bytes([0, 10, 13, 46, 255])
    body = arrived[0].get_body(("plain",))
    assert body is not None
    assert body.get_content().rstrip("\n") == ".\n..\n.x\nHi"


def parsed(raw: bytes) -> EmailMessage:
    """As Python's library reads it."""
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_pipelined_and_chunked_in_one_write_each(live: Postalynk) -> None:
    with log_in(live) as client:
        content = mail("chunks").as_bytes(policy=email.policy.SMTP)
        first, last = content[:20], content[20:]
        envelope = b"MAIL FROM:<shop@example.com>\r\nRCPT TO:<ada@rcpt.example>\r\n"
        group = envelope + b"BDAT %d\r\n%bBDAT %d LAST\r\n%b" % (len(first), first, len(last), last)
        client.send(group * 2)
        replies = [client.getreply() for _ in range(8)]
        assert [code for code, _ in replies] == [250] * 8
        sent = [accepted_id(replies[at][1]) for at in (3, 7)]
        client.send(envelope + b"DATA\r\n")
        assert [client.getreply()[0] for _ in range(3)] == [250, 250, 354]
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        client.send(stuffed + b".\r\n" + envelope + b"RSET\r\n")
        sent.append(accepted_id(client.getreply()[1]))
        assert [client.getreply()[0] for _ in range(3)] == [250] * 3
    for message_id in sent:
        live.wait_state(message_id, "delivered")


def test_what_is_wrong_is_refused_with_its_code(live: Postalynk) -> None:
    with smtplib.SMTP("127.0.0.1", live.smtp_port, timeout=30) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("postalynk", "pl_aaaaaaaa_" + "a" * 32)
        assert refused.value.smtp_code == 535
        assert client.mail("shop@example.com")[0] == 530
    with log_in(live) as client:
        foreign = mail()
        foreign.replace_header("From", "ceo@bank.example")
        with pytest.raises(smtplib.SMTPDataError) as data:
            client.send_message(foreign, "shop@example.com")
        assert data.value.smtp_code == 550
        assert "postalynk domain add bank.example" in str(data.value.smtp_error)
        with pytest.raises(smtplib.SMTPDataError) as data:
            client.send_message(mail(), "ceo@bank.example")
        assert data.value.smtp_code == 550
        # A second message in the first, for receivers that take LF . LF for the end.
        client.mail("shop@example.com")
        client.rcpt("ada@rcpt.example")
        assert client.docmd("DATA")[0] == 354
        client.send(b"From: shop@example.com\r\n\r\nHi\n.\nMAIL FROM:<ceo@bank.example>\r\n.\r\n")
        code, text = client.getreply()
        assert (code, b"Bare LF" in text) == (550, True)


def test_a_bare_lf_is_mended_as_the_guide_says(live: Postalynk) -> None:
    message = mail("line ends")
    unix = message.as_bytes(policy=email.policy.SMTP.clone(linesep="\n"))
    sed = subprocess.run(["sed", r"s/\r*$/\r/"], input=unix, capture_output=True, check=True)
    with log_in(live) as client:
        addresses = ("shop@example.com", "ada@rcpt.example")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(*addresses, unix)
        at = unix.index(b"\n")
        assert f"5.6.0 Bare LF at octet {at}:" in str(refused.value.smtp_error)
        assert client.sendmail(*addresses, unix.decode()) == {}
        assert client.sendmail(*addresses, message.as_bytes(policy=email.policy.SMTP)) == {}
        assert client.sendmail(*addresses, sed.stdout) == {}


def test_an_idempotency_key_gives_one_message(live: Postalynk) -> None:
    content = mail("once", X_Postalynk_Idempotency_Key="smtp-1").as_bytes(policy=email.policy.SMTP)
    with log_in(live) as client, log_in(live) as other:
        assert submit(client, content) == submit(other, content)


def test_slow_clients_slow_nobody(live: Postalynk) -> None:
    with contextlib.ExitStack() as slow:
        for _ in range(50):
            held = slow.enter_context(socket.create_connection(("127.0.0.1", live.smtp_port)))
            held.sendall(b"EHL")
        dribbling = slow.enter_context(log_in(live))
        dribbling.mail("shop@example.com")
        dribbling.rcpt("ada@rcpt.example")
        dribbling.docmd("DATA")
        with log_in(live) as client:
            for number in range(20):
                dribbling.send(b"x")
                submit(client, mail(f"quick {number}").as_bytes(policy=email.policy.SMTP))
        dribbling.send(b"\r\n.\r\n")
        assert dribbling.getreply()[0] == 550


def test_tls_by_starttls_and_from_the_start(tmp_path: Path) -> None:
    pem = tmp_path / "tls.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", pem, "-out", tmp_path / "crt"),
        ],
        check=True,
        capture_output=True,
    )
    pem.write_text(pem.read_text() + (tmp_path / "crt").read_text())
    implicit = Postalynk(tmp_path / "pl")
    port = implicit.smtp_port + 10_000
    implicit.submission = f'listen_tls = "127.0.0.1:{port}"\ntls_certificate = "{pem}"\n'
    implicit.__post_init__()
    context = ssl.create_default_context(cafile=str(tmp_path / "crt"))
    try:
        implicit.start().prepare()
        with smtplib.SMTP("localhost", implicit.smtp_port, timeout=30) as client:
            client.starttls(context=context)
            client.login("postalynk", implicit.api_key)
            submit(client, mail().as_bytes(policy=email.policy.SMTP))
        with smtplib.SMTP_SSL("localhost", port, timeout=30, context=context) as client:
            client.login("postalynk", implicit.api_key)
            submit(client, mail().as_bytes(policy=email.policy.SMTP))
    finally:
        implicit.remove()


def test_smtp_source_submits_from_a_trusted_network(tmp_path: Path, sink: Sink) -> None:
    """A program that cannot say AUTH, let in by its address; before that it is refused."""
    target = Postalynk(tmp_path / "pl", sink.address)

    def submit_all() -> "subprocess.CompletedProcess[str]":
        source = ["-s", "4", "-m", "40", "-l", "3000", "-f", "shop@example.com"]
        place = f"127.0.0.1:{target.smtp_port}"
        return subprocess.run(
            ["smtp-source", *source, "-t", "ada@rcpt.example", place],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    try:
        target.start().prepare()
        assert "530 5.7.0" in submit_all().stderr
        assert target.stop() == 0
        target.submission = f'trusted_networks = {{"127.0.0.1/32" = "{target.org}"}}\n'
        target.__post_init__()
        target.start()
        before = sink.count()
        done = submit_all()
        assert done.returncode == 0, done.stderr
        wait_for(lambda: sink.count() == before + 40, "all arrive")
        assert target.metric("postalynk_submission_messages_accepted_total") == 40
        audit = target.ask("audit")
        assert (audit["unaccounted"], audit["twice"]) == ([], [])
    finally:
        target.remove()


def test_kill_nine_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """SIGKILL three times while eight clients submit; each 250 is a message that arrives."""
    sink = Sink(tmp_path, "--ledger", str(tmp_path / "ledger.tsv"))
    target = Postalynk(tmp_path / "pl", sink.address)
    target.start().prepare()
    acknowledged: list[str] = []
    is_over = threading.Event()

    def client() -> None:
        while not is_over.is_set():
            # Whatever the crash interrupts was not acknowledged, and nobody counts on it.
            with contextlib.suppress(OSError, smtplib.SMTPException), log_in(target) as smtp:
                while not is_over.is_set():
                    acknowledged.append(
                        submit(smtp, mail("kill").as_bytes(policy=email.policy.SMTP))
                    )
            time.sleep(0.05)

    threads = [threading.Thread(target=client) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = len(acknowledged)
            wait_for(partial(more_than, acknowledged, before + 100), "traffic", 60)
            target.kill()
            target.start()
        is_over.set()
        for thread in threads:
            thread.join(60)
        assert target.ask("drain", "--timeout", "60s")["drained"]
        report = target.ask("audit")
        assert (report["unaccounted"], report["twice"]) == ([], [])
        copies = Counter(known.partition("@")[0] for known, _ in sink.received())
        assert [known for known in acknowledged if known not in copies] == []
        assert len(acknowledged) == len(set(acknowledged)) > 300
    finally:
        is_over.set()
        target.remove()
        sink.stop()
