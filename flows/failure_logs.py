"""One line instead of a traceback in the logs of flows and tasks that fail; BIGLEARN_TRACEBACK=1 keeps the traceback."""

from __future__ import annotations

import logging
import os

from pipeline.base.failures import line_of

LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.flow_engine", "prefect.task_engine")


def shorten() -> None:
    """Makes Prefect's loggers of runs write an exception as its one line."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if one_line not in logger.filters:
            logger.addFilter(one_line)


def one_line(record: logging.LogRecord) -> bool:
    """Replaces the message and the traceback of a record that carries an exception; keeps every record."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not os.environ.get("BIGLEARN_TRACEBACK"):
        record.msg, record.args = f"failed: {line_of(error)}", ()
        record.exc_info = record.exc_text = None
    return True
