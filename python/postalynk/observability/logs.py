"""Log lines as ECS JSON on standard error, one object a line.

**Problem.** Kibana, Loki and a person with ``jq`` should find the same fields in every line,
those of libraries that use `logging` included.
**Model.** A call is an event in plain words and fields: ``log.info("policy loaded", version=v)``.
A field whose name holds a dot is an ECS field and stays where it is (``**{"organization.id":
org}``); every other goes below ``postalynk``, ECS's rule for names of one's own. An exception
becomes ``error.type``, ``error.message`` and ``error.stack_trace``.
**Not here.** Levels per module, rotation, shipping: standard error is the interface.
**Source.** Elastic Common Schema 8.11, "Custom fields" and "error".
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

if TYPE_CHECKING:
    from collections.abc import MutableMapping

Logger: TypeAlias = FilteringBoundLogger
"""What `get_logger` gives: ``debug``, ``info``, ``warning``, ``error``, ``exception``, ``bind``."""

ECS_VERSION = "8.11.0"

# Fields structlog adds for itself when a line comes from `logging`.
_INTERNAL = frozenset({"_record", "_from_structlog", "_logger", "_name"})


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Send the lines of structlog and of `logging` to ``stream`` (default: standard error).

    ``level``: debug, info, warning, error or critical. Call it once, at start; a second call
    replaces the first. Raises ValueError for an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level {level!r}; use debug, info, warning, error or critical")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[to_ecs, _render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)


def get_logger(name: str) -> Logger:
    """A logger whose lines carry ``log.logger = name``; give it ``__name__``."""
    # Lazy: a module asks for its logger before `configure_logs` has run.
    logger: Logger = structlog.get_logger(**{"log.logger": name})
    return logger


def to_ecs(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """The structlog processor that moves every field to its ECS place."""
    line: dict[str, Any] = {
        "@timestamp": event.pop("@timestamp", None),
        "log.level": event.pop("level", "info"),
        "message": str(event.pop("event", "")),
        "ecs.version": ECS_VERSION,
        "service.name": "postalynk",
    }
    record = event.get("_record")
    # A line that came through `logging` keeps its exception in the record.
    error = event.pop("exc_info", None) or (record.exc_info if record is not None else None)
    if (name := event.pop("logger", None)) is not None:
        line["log.logger"] = name
    own = {}
    for key, value in event.items():
        if key in _INTERNAL:
            continue
        if "." in key:
            line[key] = value
        else:
            own[key] = value
    if own:
        line["postalynk"] = own
    if (exception := _exception(error)) is not None:
        line["error.type"] = type(exception).__name__
        line["error.message"] = str(exception)
        line["error.stack_trace"] = "".join(traceback.format_exception(exception))
    return line


def _exception(error: object) -> BaseException | None:
    if error is True:
        return sys.exception()
    if isinstance(error, BaseException):
        return error
    if isinstance(error, tuple) and len(error) == 3 and isinstance(error[1], BaseException):
        return error[1]
    return None


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(dict(event), default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
