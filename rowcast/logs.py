"""Logs are events, a constant dotted name and fields, on stderr: for people on a terminal, as JSON lines elsewhere.

What libraries log through `logging` goes the same way, from warnings up (all of it at level debug).
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from rowcast.redaction import redact
from rowcast.terminal import safe_lines

_OURS = logging.getLogger("rowcast")
_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def set_up(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send all logging of this process to stderr, from `level` up; `auto` looks whether stderr is a terminal."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=_last(console)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    _OURS.setLevel(level.upper())
    # It warns of every session that is given up, which is how we leave a silent server; ours say what it meant.
    logging.getLogger("psycopg").setLevel(logging.DEBUG if _OURS.level <= logging.DEBUG else logging.ERROR)
    root.setLevel(max(_OURS.level, logging.WARNING) if _OURS.level > logging.DEBUG else logging.DEBUG)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=_logger,
        cache_logger_on_first_use=False,
    )


def _logger(*name: str) -> logging.Logger:
    """structlog.get_logger("web") is `rowcast.web`, so that our level is not the libraries'."""
    return logging.getLogger(".".join((_OURS.name, *name)))


def _last(console: bool) -> list[Processor]:
    bare = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    exceptions = structlog.processors.format_exc_info
    if console:
        return [bare, exceptions, redact, _steer_nothing, _console()]
    return [bare, exceptions, redact, structlog.processors.JSONRenderer()]


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _steer_nothing(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Fields quote errors, and those what others sent: none of it is a command to the terminal."""
    return {name: safe_lines(value) if isinstance(value, str) else value for name, value in event.items()}
