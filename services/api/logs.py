"""The service's log on stderr: one JSON object per line, without questions, keys, paths of requests and tracebacks."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from lorag.services.api.errors import DEBUG

LEVELS = {"": logging.WARNING, "lorag": logging.INFO, "pipeline": logging.WARNING, "uvicorn": logging.WARNING}
"""Level by the name of a logger. The first is the root, which libraries' loggers propagate to."""


class JsonLines(logging.Formatter):
    """`{"time", "level", "event", …}`. With `LORAG_DEBUG=1` an error's traceback is in `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            if os.environ.get(DEBUG) == "1":
                line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def logging_to(stream: TextIO | None = None) -> Iterator[None]:
    """Within: the service's lines, and libraries' lines of level `warning` and above, go to `stream` or stderr alone."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    loggers = {logging.getLogger(name): level for name, level in LEVELS.items()}
    before = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    for logger, level in loggers.items():
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
