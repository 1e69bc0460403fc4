"""Structured logs: one JSON object a line, on standard error and in a site's bounded log files."""

import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

FILE_NAME = "node.log"
FILE_BYTES = 8 << 20
OLDER_FILES = 4
"""Kept beside the present one, as node.log.1 (the newest of them) and so on: 40 MiB in all."""

_OURS = "swarm-node"


class _LogFile(RotatingFileHandler):
    """A file that only its owner may read: what is said of a site's data is nobody else's business."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / FILE_NAME, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return open(descriptor, "a", encoding=self.encoding)


def configure(level: int = logging.INFO, *, folder: Path | None = None, **context: object) -> None:
    """Log as JSON lines with `context` in each; libraries' warnings come along.

    To standard error, and to files in `folder` where there is one; raises OSError where it can't be written to.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**context)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
    )
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if folder is not None:
        handlers.append(_LogFile(folder))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(handlers=handlers, level=logging.WARNING, force=True)
    logging.getLogger(_OURS).setLevel(level)


Logger = FilteringBoundLogger


def get() -> Logger:
    """The logger."""
    logger: Logger = structlog.get_logger(_OURS)
    return logger
