"""Log lines are ECS JSON, whoever writes them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from postalynk.observability import configure_logs, get_logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out = io.StringIO()
    configure_logs("info", out)
    yield out
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _line(stream: io.StringIO) -> dict[str, object]:
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line: dict[str, object] = json.loads(lines[0])
    return line


def test_own_fields_go_below_the_name_of_the_product(stream: io.StringIO) -> None:
    get_logger("postalynk.x").info("policy loaded", version="abc", **{"organization.id": "org_1"})
    line = _line(stream)
    assert line["message"] == "policy loaded"
    assert line["log.level"] == "info"
    assert line["log.logger"] == "postalynk.x"
    assert line["postalynk"] == {"version": "abc"}
    assert line["organization.id"] == "org_1"
    assert str(line["@timestamp"]).endswith("Z")


def test_an_exception_has_type_message_and_stack(stream: io.StringIO) -> None:
    try:
        raise ValueError("seven")
    except ValueError:
        get_logger("x").exception("it broke")
    line = _line(stream)
    assert (line["error.type"], line["error.message"]) == ("ValueError", "seven")
    assert "test_logs.py" in str(line["error.stack_trace"])


def test_lines_of_libraries_look_the_same(stream: io.StringIO) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("uvicorn.error").warning("slow %d", 3, exc_info=True)
    line = _line(stream)
    assert (line["message"], line["log.logger"], line["log.level"]) == (
        "slow 3",
        "uvicorn.error",
        "warning",
    )
    assert line["error.type"] == "KeyError"


def test_values_that_are_no_json_are_shown_all_the_same(stream: io.StringIO) -> None:
    get_logger("x").info("odd", what={1, 2}, raw=b"\x00")
    assert _line(stream)["postalynk"] == {"what": "{1, 2}", "raw": "b'\\x00'"}


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    get_logger("x").debug("quiet")
    assert stream.getvalue() == ""


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="no log level 'loud'"):
        configure_logs("loud")
