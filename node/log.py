"""Structured logs: one JSON object a line on standard error."""

import logging
import sys
from contextlib import suppress

import structlog
from structlog.typing import FilteringBoundLogger


class _Unfailing(structlog.PrintLogger):
    """A log that can't be written, on a disk that is full, must not end the site that writes it."""

    def msg(self, message: str) -> None:
        """Write a line if that can be done."""
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = error = exception = critical = fatal = msg


def configure(level: int = logging.INFO, **context: object) -> None:
    """Log as JSON lines to standard error, with `context` in each; libraries' warnings come along."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Unfailing(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**context)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


Logger = FilteringBoundLogger


def get() -> Logger:
    """The logger."""
    logger: Logger = structlog.get_logger()
    return logger
