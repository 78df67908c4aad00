"""What a daemon logs: lines for people, or one JSON object a line."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JSONLines(logging.Formatter):
    """A record as one JSON object: ``at``, ``level``, ``logger``, ``message``, ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        document = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(document).decode()


def log_to_stderr(*, as_json: bool) -> None:
    """Send greenroom's logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines() if as_json else logging.Formatter(TEXT_FORMAT))
    logger = logging.getLogger("greenroom")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
