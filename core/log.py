"""Logging: one JSON object a line for machines, one calm line for a terminal.

A log line is for a person at night: what, which device, what happens next. The message is a
constant, the facts travel in ``extra``. Rates are metrics, not lines. Secrets never get here.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: ``at, level, role, logger, message`` and the extras."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """``20:15:03 ingest WARNING message  key=value …`` in UTC."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        facts = "".join(f"  {key}={value}" for key, value in _extras(record).items())
        level = "" if record.levelno == logging.INFO else f" {record.levelname}"
        line = f"{at} {self._role}{level} {record.getMessage()}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def start_logging(
    role: str, level: str = "INFO", form: Literal["auto", "json", "text"] = "auto"
) -> None:
    """Send all logging of this process to stderr.

    Args:
        role: Who speaks, such as ``"ingest"``.
        level: The least level written.
        form: ``auto`` is text on a terminal, else JSON.
    """
    text = sys.stderr.isatty() if form == "auto" else form == "text"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(role) if text else JsonFormatter(role))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
