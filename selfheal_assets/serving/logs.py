"""Write a server's log as one JSON object a line, to the standard error. Never writes what a request contained."""

import logging
import logging.config
from datetime import UTC, datetime
from typing import Any

import orjson


class JsonLines(logging.Formatter):
    """time, level, logger, message, process; and the traceback of an error, for operators only."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return orjson.dumps(said, default=str).decode()


def configure_logs() -> None:
    """Of this process: warnings of libraries become lines too."""
    logging.captureWarnings(True)
    logging.config.dictConfig(CONFIGURATION)


CONFIGURATION: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLines}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "uvicorn": {"level": "INFO"},
        # Told here too: configuring its parent again would switch the line a request on.
        "uvicorn.access": {"level": "WARNING", "propagate": False},
        "selfheal_assets": {"level": "INFO"},
    },
}
