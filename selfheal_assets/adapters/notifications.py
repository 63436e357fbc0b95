"""Tell people what happened: a line in the log and in the home's notifications.jsonl. Never raises."""

import json
import logging
from pathlib import Path

from selfheal_assets.ports import Clock

log = logging.getLogger("selfheal.notifications")


class FileNotifier:
    """The `Notifier` port of the embedded default."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def notify(self, model: str, title: str, body: str) -> None:
        line = {"at": self._clock.now().isoformat(), "model": model, "title": title, "body": body}
        log.warning("%s: %s. %s", model, title, body)
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except OSError as error:
            log.error("the notification could not be written to %s: %s", self._path, error)
