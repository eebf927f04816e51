"""What a process says of itself: a line for each event, as JSON or, on a terminal, in words.

A line holds nothing of a patient, nothing that was typed and no address that was asked for, only
the route's name. Our own messages are written so. Of what libraries say, which may quote what they
read, only the place stands in the log, and of exceptions their kinds and places.
"""

from __future__ import annotations

import logging
import logging.config
import re
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from app import request_ids
from app.faults import described
from app.settings import Settings

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

log = logging.getLogger("hepatica")

OURS = ("hepatica", "uvicorn")
FIELDS = ("method", "route", "status", "ms")
"""What a line may have besides its event."""
_WARNING = re.compile(r"(?:.*/)?([^/]+:\d+): (\w+): ")


class Stderr(logging.Handler):
    """Writes to standard error, whatever that is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """A line for it; where standard error is closed there is nobody to tell."""
        with suppress(OSError, ValueError):
            print(self.format(record), file=sys.stderr, flush=True)


def begin(settings: Settings) -> None:
    """Let this process log as the settings say, whatever ends it included."""
    logging.config.dictConfig(configuration(settings))
    logging.captureWarnings(True)
    sys.excepthook = _ended
    threading.excepthook = _thread_ended


def configuration(settings: Settings) -> dict[str, Any]:
    """For ``logging.config.dictConfig``, also in processes that uvicorn starts."""
    level = settings.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "app.logs.formatter", "words": in_words(settings)}},
        "handlers": {
            "stderr": {
                "()": "app.logs.Stderr",
                "formatter": "lines",
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            **{name: {"level": level} for name in OURS},
            # it tells addresses; `app.counting` has a line for each request
            "uvicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
        },
    }


def in_words(settings: Settings) -> bool:
    """Whether people read it, rather than a program that gathers logs."""
    if settings.log_format == "auto":
        return sys.stderr.isatty()
    return settings.log_format == "words"


def say(settings: Settings, words: str) -> None:
    """Tell whoever has started this process that it is ready."""
    if in_words(settings):
        print(words, flush=True)
    else:
        log.info(words)


def formatter(*, words: bool) -> logging.Formatter:
    """Lines in words or of JSON; structlog is imported where a process logs at all."""
    import structlog

    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if words
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    before: list[Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=FIELDS),
        _with_request,
        _without_values,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        keep_exc_info=False,
        keep_stack_info=False,
    )


def _with_request(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    if name := request_ids.current():
        event["request"] = name
    return event


def _without_values(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Of exceptions kinds and places, of what libraries say the place."""
    record: logging.LogRecord = event["_record"]
    event.pop("stack_info", None)
    fault = event.pop("exc_info", None)
    error = fault[1] if isinstance(fault, tuple) else fault
    if isinstance(error, BaseException):
        event["fault"] = described(error)
    if record.name == "py.warnings":
        found = _WARNING.match(str(event["event"]))
        event["event"] = f"{found[2]} at {found[1]}" if found else "a warning"
    elif not record.name.startswith(OURS):
        event["event"] = f"said at {record.module}:{record.lineno}"
    return event


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("The process ends by a fault.", exc_info=(kind, error, trace))


def _thread_ended(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        log.error(
            "A thread ended by a fault.",
            exc_info=(told.exc_type, told.exc_value, told.exc_traceback),
        )
