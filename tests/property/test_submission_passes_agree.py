"""The two passes over a submitted message: what the fast one takes, the other takes alike."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postalynk.ingest import raw
from postalynk.ingest.batches import rules_of
from postalynk.ingest.border import Submission, SubmissionBatch, SubmittedMessage, encode_messages
from postalynk.ingest.compose import Composer
from tests.unit.ingest.service import Service

HOST = "mx.example.com"
PARTITIONS = 8
NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12),
    st.sampled_from(
        [
            "",
            "Ann",
            '"Ann, A."',
            "J. Doe",
            '"a" b',
            "=?utf-8?q?B=C3=A9n?=",
            "=?UTF-8?B?QsOpbg==?= =?utf-8?q?_x?=",
            "=?utf-8?q?a=0Ab?=",
            "=?utf-8?b?DQo=?=",
            "=?iso-8859-1?q?B=E9n?=",
            "=?utf-8?q?=C3?=",
            "=?utf-8?b?QsOpb?=",
            "%0a",
            "(c) Ann",
            '"a\\"b"',
            "Grüße",
        ]
    ),
)
ADDRESSES = st.sampled_from(
    [
        "shop@example.com",
        "Shop@EXAMPLE.com",
        "a@foreign.example",
        "ann@rcpt.example",
        "a.b+c@rcpt.example",
        "a..b@rcpt.example",
        '"q q"@rcpt.example',
        "x@[192.0.2.1]",
        "=?x@example.com",
        "nobody",
        "ü@rcpt.example",
    ]
)
MAILBOXES = st.one_of(
    ADDRESSES,
    st.builds("{} <{}>".format, NAMES, ADDRESSES),
    st.builds("{} ({})".format, ADDRESSES, NAMES),
)
LISTS = st.lists(MAILBOXES, min_size=1, max_size=3).flatmap(
    lambda boxes: st.sampled_from([",", ", ", " ,\t", ",,"]).map(lambda comma: comma.join(boxes))
)
OWN = st.one_of(
    st.builds("{} <{}>".format, NAMES, st.just("shop@example.com")),
    MAILBOXES,
)
HEADERS = st.fixed_dictionaries(
    {"From": OWN},
    optional={
        "To": LISTS,
        "Cc": LISTS,
        "Reply-To": LISTS,
        "Subject": NAMES,
        "Message-ID": st.sampled_from(["<1@x.example>", "odd\x01\x02id", "<>", ""]),
        "Date": st.just("Mon, 1 Jan 2024 00:00:00 +0000"),
        "X-Postalynk-Tag": st.sampled_from(["a=1", " a = b ", "a", "a=ü", "=", "a=b=c"]),
        "X-Postalynk-Priority": st.sampled_from(["high", "BULK", "normal", "", "urgent"]),
        "TLS-Required": st.sampled_from(["No", "yes"]),
        "Bcc": ADDRESSES,
    },
)
ENVELOPES = st.tuples(
    st.sampled_from(["", "shop@example.com", "Shop@EXAMPLE.com", "a@foreign.example"]),
    st.sampled_from(["", " RET=HDRS ENVID=QQ1", " RET=FULL"]),
    st.lists(
        st.tuples(
            st.sampled_from(["ann@RCPT.example", "ann@rcpt.example", "b@rcpt.example"]),
            st.sampled_from(["", " NOTIFY=NEVER", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b"]),
        ),
        min_size=1,
        max_size=3,
    ),
)


class Line:
    """One client's connection to a submission that nobody else judges."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.org = service.own.org
        self.submission = Submission(
            listen=["127.0.0.1:0"],
            listen_tls=[],
            host=HOST,
            certificate=None,
            require_tls=False,
            max_message_bytes=1_000_000,
            max_connections=10,
            trusted_networks=[("127.0.0.1", 32, self.org)],
        )
        self.submission.open()
        host, _, port = self.submission.addresses[0].rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._file = self._socket.makefile("rb")
        self._reply()
        self._say(b"EHLO client.example")

    def _reply(self) -> bytes:
        while (line := self._file.readline())[3:4] == b"-":
            pass
        return line

    def _say(self, line: bytes) -> bytes:
        self._socket.sendall(line + b"\r\n")
        return self._reply()

    def send(self, sender: str, wishes: str, recipients: list[tuple[str, str]]) -> bool:
        """An envelope, up to DATA; false when it is refused."""
        said = [self._say(f"MAIL FROM:<{sender}>{wishes}".encode())]
        said += [self._say(f"RCPT TO:<{to}>{wish}".encode()) for to, wish in recipients]
        said.append(self._say(b"DATA"))
        return said[-1].startswith(b"354")

    def content(self, octets: bytes) -> SubmissionBatch | None:
        """The batch of this one message; None when it was refused before any judgement."""
        self._socket.sendall(octets + b"\r\n.\r\n")
        while True:
            batch = self.submission.requests(10, 50)
            assert batch is not None
            if batch.request_ids:
                return batch
            self._socket.setblocking(False)
            try:
                if self._socket.recv(1, socket.MSG_PEEK):
                    return None
            except BlockingIOError:
                pass
            finally:
                self._socket.setblocking(True)

    def end(self) -> None:
        """Read the reply to the content."""
        self._reply()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self.submission.close()


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    made = Line(Service())
    # Spread, so that the passes must agree on the partition too.
    made.service.control.update_organization(made.org, salt=3)
    yield made
    made.close()


def slow(line: Line, item: SubmittedMessage, id_: bytes) -> list[object]:
    """The appends of the pass that knows every form."""
    organization = line.service.control.directory.organization(line.org)
    assert organization is not None
    composer = Composer(line.service.control.directory, organization, line.service.clock())
    return list(encode_messages([raw.compose(item, composer, id_, HOST)], PARTITIONS))


def both(line: Line, batch: SubmissionBatch) -> bool:
    """Whether the fast pass took it; if so, the other gives the same."""
    snapshot = line.service.control.directory.snapshot
    rules = rules_of(snapshot, host=HOST, partitions=PARTITIONS, is_signing=True)
    now_us = line.service.clock()
    judged = batch.judge(rules, now_us, set())
    (item,) = batch.judge(rules, now_us, {line.org}).apart
    line.submission.answer_all(judged)
    line.submission.answer(item.id, "250 2.0.0 judged")
    line.end()
    if judged.apart:
        return False
    ((id_, event),) = judged.accepted
    assert judged.appends[1][3] == event
    assert judged.appends == slow(line, item, id_)
    return True


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(headers=HEADERS, envelope=ENVELOPES, body=st.sampled_from(["", "Hi\r\n..\r\n"]))
def test_law_passes_agree(
    line: Line,
    headers: dict[str, str],
    envelope: tuple[str, str, list[tuple[str, str]]],
    body: str,
) -> None:
    """Law: a message the fast pass takes has the record and event of the other pass."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if not line.send(*envelope):
        return
    batch = line.content(f"{head}\r\n{body}".encode())
    if batch is None:
        line.end()
    else:
        both(line, batch)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"To": '"Ann, A." <ann@rcpt.example>, b@rcpt.example', "Subject": "Hello"},
        {"From": "=?utf-8?b?QsOpbg==?= <shop@example.com>", "Subject": "=?utf-8?q?B=C3=A9n?="},
        {"X-Postalynk-Tag": "a=1", "X-Postalynk-Priority": "high", "Message-ID": "<1@x.example>"},
    ],
)
def test_plain_mail_takes_the_fast_pass(line: Line, headers: dict[str, str]) -> None:
    """Else each of these would cost what ten do."""
    made = {"From": "Shop <shop@example.com>"} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in made.items())
    assert line.send("shop@example.com", "", [("ann@rcpt.example", "")])
    batch = line.content(f"{head}\r\nHi\r\n".encode())
    assert batch is not None
    assert both(line, batch)
