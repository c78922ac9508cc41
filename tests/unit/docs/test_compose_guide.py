"""The example of the composing guide runs, and dkimpy verifies what it makes."""

import re
from pathlib import Path
from typing import Any

import dkim
import pytest

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "compose-and-sign.md"


def test_the_example_makes_a_message_that_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    made: dict[str, Any] = {}
    exec(example, made)
    record = capsys.readouterr().out.partition(": ")[2].strip().encode()
    assert dkim.verify(made["message"], dnsfunc=lambda *_, **__: record)
