"""A model server in a process of its own, with parts in memory: `python serving_process.py [arguments]` serves."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import httpx
from fastapi import FastAPI
from served import Log, World, served_spec, wait_for

from selfheal_assets.core.errors import LogFullError
from selfheal_assets.ports.serving import Logged
from selfheal_assets.project import PROJECT

LOGGED = "SERVED_LOG"
"""Where the process writes the ids of the rows that were still in its log when that was closed."""


class LandedLog(Log):
    """Lands at its end what it has, as a prediction log does."""

    def append(self, rows: Sequence[Logged]) -> None:
        if self.closed:
            raise LogFullError("A closed log must take no rows; it is closed. Start again.")
        super().append(rows)

    def close(self) -> None:
        super().close()
        with Path(os.environ[LOGGED]).open("a", encoding="utf-8") as file:
            file.writelines(f"{row.event['event_id']}\n" for row in self.rows)


def app() -> FastAPI:
    """Each answer takes as long as SERVED_SECONDS says."""
    from selfheal_assets.serving.app import create_app
    from selfheal_assets.serving.settings import METRICS

    world = World(spec=served_spec(max_waiting=int(os.environ["SERVED_WAITING"])), log=LandedLog())
    world.features.seconds = float(os.environ["SERVED_SECONDS"])
    parts = world.parts()
    object.__setattr__(parts, "metrics_folder", os.environ.get(METRICS))
    return create_app(parts)


@dataclass
class Running:
    """A server that answers."""

    process: "subprocess.Popen[str]"
    url: str
    home: Path
    said: list[str]

    @property
    def landed(self) -> list[str]:
        file = self.home / "landed"
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    @property
    def registered(self) -> Path:
        return self.home / "serving" / "payments" / "servers" / f"{self.process.pid}.json"

    def ended(self) -> int:
        """Ask it to end, and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def running(home: Path, *arguments: str, seconds: float = 0.0, waiting: int = 256) -> Iterator[Running]:
    """`python -m selfheal_assets.serving payments` over a home, with the parts of this module."""
    home.mkdir(parents=True)
    (home / "layout").write_text("2", encoding="utf-8")
    # Feast, where a test imported it as it is, points Prometheus' variables to a folder of its own.
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS")},
        "SELFHEAL_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path(__file__).parent)]),
        LOGGED: str(home / "landed"),
        "SERVED_SECONDS": str(seconds),
        "SERVED_WAITING": str(waiting),
    }
    command = [sys.executable, __file__, "payments", "--port", "0", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reading = Thread(target=said.extend, args=(process.stderr,), daemon=True)
    reading.start()
    try:
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url), said
        with httpx.Client() as client:
            wait_for(lambda: _answers(client, url), 60.0)
        yield Running(process, url, home, said)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        reading.join(5)
        process.stdout.close()
        process.stderr.close()


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/ready", timeout=5.0).status_code == 200
    except httpx.TransportError:
        return False


def as_json(lines: Sequence[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    from selfheal_assets.serving import __main__ as server

    server.FACTORY = "serving_process:app"
    server.main()
