"""The prediction log of a real process that is killed or told to end: how much is lost, and who lands the rest."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from logged import columns, files, landed, left, log_folder, spec

from selfheal_assets.adapters.clocks import SystemClock
from selfheal_assets.project import PROJECT
from selfheal_assets.serving.prediction_log import PredictionLog

COMMIT_MS, LOG_ROWS = 50.0, 3_000
DISK_SECONDS = 0.5
"""What one fsync may take on a busy machine, beyond the window."""
TESTS = PROJECT / "tests"


class Children:
    """Processes that log, at full speed unless they are told to pause."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        home.mkdir()

    def start(self, prefix: str, *, rows: int = LOG_ROWS, pause: float = 0) -> None:
        """With `rows` a segment, and a pause between two of them. Unit: seconds."""
        command = [sys.executable, str(TESTS / "logging_child.py"), str(self.home), prefix]
        path = os.pathsep.join([str(PROJECT), str(TESTS)])
        environment = {**os.environ, "PYTHONPATH": path}
        settings = [str(COMMIT_MS), str(rows), str(pause)]
        self._processes[prefix] = subprocess.Popen([*command, *settings], env=environment)

    def taken(self, prefix: str) -> np.ndarray:
        """When each row was taken; 0 for those that were not."""
        note = self.home / prefix
        return np.fromfile(note, np.float64) if note.exists() else np.zeros(1)

    def until(self, prefix: str, rows: int) -> None:
        """Wait until it has taken so many rows."""
        deadline = monotonic() + 60
        while np.count_nonzero(self.taken(prefix)) < rows:
            assert self._processes[prefix].poll() is None
            assert monotonic() < deadline
            sleep(0.05)

    def send(self, prefix: str, number: signal.Signals) -> float:
        """When the process was sent the signal, and its end waited for."""
        at = monotonic()
        self._processes[prefix].send_signal(number)
        self._processes[prefix].wait(30)
        return at

    def alive(self, prefix: str) -> bool:
        return self._processes[prefix].poll() is None

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    started = Children(tmp_path / "home")
    yield started
    started.stop()


def adopt(home: Path) -> int:
    """Start a log, which lands what dead processes left, and end it; the torn lines that were dropped."""
    log = PredictionLog(home, spec(), columns(), SystemClock())
    log.close()
    assert log.trouble is None
    return log.converted.torn


def numbers(ids: list[str], prefix: str) -> list[int]:
    return sorted(int(i.removeprefix(prefix)) for i in ids if i.startswith(prefix))


def test_a_killed_process_loses_at_most_the_commit_window(children: Children) -> None:
    children.start("a")
    children.until("a", 3 * LOG_ROWS)
    killed_at = children.send("a", signal.SIGKILL)
    assert left(children.home), "a killed process leaves a segment"
    assert adopt(children.home) <= 1
    ids = landed(children.home)["id"].tolist()
    kept = numbers(ids, "a")
    assert len(ids) == len(set(ids)), "no row lands twice"
    assert kept == list(range(len(kept))), "what is lost are the last rows"
    taken = children.taken("a")
    lost = taken[len(kept) :][taken[len(kept) :] > 0]
    assert len(kept) >= 3 * LOG_ROWS - len(lost)
    assert not len(lost) or killed_at - lost.min() <= COMMIT_MS / 1000 + DISK_SECONDS
    assert left(children.home) == []
    print(f"{len(kept)} rows kept, {len(lost)} lost, the oldest {killed_at - lost.min() if len(lost) else 0:.3f} s old")


def test_a_process_that_is_told_to_end_loses_nothing(children: Children) -> None:
    children.start("a")
    children.until("a", 500)
    children.send("a", signal.SIGTERM)
    taken = children.taken("a")
    accepted = {f"a{number}" for number in np.flatnonzero(taken)}
    assert set(landed(children.home)["id"]) == accepted
    assert left(children.home) == []


def test_the_segments_of_a_living_process_are_left_alone(children: Children) -> None:
    """Two at once: one is killed and its rows land by the start of a third; the other goes on, and ends."""
    for prefix in ("a", "b"):
        children.start(prefix, rows=200, pause=0.0005)
    for prefix in ("a", "b"):
        children.until(prefix, 500)
    children.send("a", signal.SIGKILL)
    adopt(children.home)
    assert children.alive("b")
    owners = {path.stem for path in log_folder(children.home).glob("*.lock")}
    assert len(owners) == 1, "the claim of the living one"
    children.until("b", int(np.count_nonzero(children.taken("b"))) + 100)
    children.send("b", signal.SIGTERM)
    ids = landed(children.home)["id"].tolist()
    assert len(ids) == len(set(ids))
    assert set(numbers(ids, "b")) == set(np.flatnonzero(children.taken("b")))
    assert len(numbers(ids, "a")) >= 400
    assert left(children.home) == []
    assert len({path.name for path in files(children.home)}) == len(files(children.home))
