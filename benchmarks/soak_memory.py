"""Follow the memory of every server process: a folder of running servers in, samples out. Never judges them."""

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Self

from selfheal_assets.server_files import running

EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at a moment."""

    at: float
    """Seconds since 1970."""
    pid: int
    mb: float
    """Resident, in 10^6 bytes."""


class MemoryWatch:
    """A thread that looks every second while the context lasts."""

    def __init__(self, servers: Path) -> None:
        self._servers, self._over = servers, Event()
        self._thread = Thread(target=self._watch, name="memory", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            now = time.time()
            for pid in [each for server in running(self._servers) for each in family(server.pid)]:
                mb = resident_mb(pid)
                if mb is not None:
                    self.samples.append(Sample(now, pid, mb))


def family(pid: int) -> list[int]:
    """The process and its children: the workers of a server that has several."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        children = []
    return [pid, *map(int, children)]


def resident_mb(pid: int) -> float | None:
    """None when the process has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return None
