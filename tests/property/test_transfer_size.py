"""How a text is encoded for its way, beside what the standard library chooses for the same text."""

import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage

from hypothesis import example, given, settings
from hypothesis import strategies as st

from postalynk.mime import compose

AT = datetime(2026, 11, 24, tzinfo=UTC)
THEIRS = email.policy.SMTP.clone(cte_type="7bit", max_line_length=76)
"""76 columns are what RFC 2045 section 6.7 allows a line of quoted-printable; the library's own
default writes 78. Without 8bit, which not every receiver takes."""

pieces = st.one_of(
    st.sampled_from(
        ["\n", "\r\n", "\r", " \n", "\t\n", " ", "=", ".", "é", "日本", "Привет, мир. "]
    ),
    st.sampled_from(["a word ", "<td align='left'>", "x" * 74 + " \n", "x" * 76 + "\n", "=" * 26]),
    st.integers(60, 90).map(lambda n: "x" * n),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
    st.sampled_from(["é", "é ", "aé", "ab é", "日 ", "x=\n"]).flatmap(
        lambda piece: st.integers(1, 300).map(lambda n: piece * n)
    ),
)
# Controls other than these may not stand in 7bit text; the library lets them pass (even NUL).
texts = st.lists(pieces, max_size=20).map("".join)


def ours(text: str) -> bytes:
    message = compose(from_="a@b.example", text=text, date=AT, message_id="1@b.example")
    return message.bytes[message.header_size + 2 :]


def theirs(text: str) -> bytes:
    message = EmailMessage(THEIRS)
    message.set_content(text)
    return message.as_bytes().partition(b"\r\n\r\n")[2]


@settings(max_examples=1_000)
@given(text=texts)
@example("x" * 74 + " \n")
@example("x" * 76 + "\n" + "é")
@example("aé" * 40 + "\n")
def test_law_encoding_is_never_larger_than_the_standard_librarys(text: str) -> None:
    """Law `encoding_is_never_larger_than_the_standard_librarys`, in octets, line ends included."""
    assert len(ours(text)) <= len(theirs(text))
