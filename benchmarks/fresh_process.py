"""Run a measuring script in a process of its own, by turns: arguments in, what it says out. Never measures."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

FOLDER = Path(__file__).resolve().parent
MARK = "measured: "
"""Begins a line that is for the parent; whatever else libraries print is not."""
SHOWN_CHARACTERS = 4_000
STOP_SECONDS = 90


def say(**fields: Any) -> None:
    """Tell the parent one object."""
    print(MARK + json.dumps(fields, default=str), flush=True)


def wait_for_turn() -> None:
    """Until the parent asks for the next measurement, so that no two are made at once."""
    sys.stdin.readline()


class MeasuringScript:
    """A script of this folder, running; the context waits for its end. Its last words are in its error."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / name), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "MPLBACKEND": "Agg"},
            start_new_session=True,  # Ctrl-C reaches us first: a script that runs Dagster is asked to end once.
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # A script that has said all of it is left alone: it may have Dagster to stop.
        if error is not None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # Its last turn was not taken.
                pipe.close()  # type: ignore[union-attr]  # both are pipes
        self._errors.close()

    def ask(self) -> dict[str, Any]:
        """Give the script its turn; the next object that it says. RuntimeError when it ends without one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # It has ended, perhaps with its answer written already.
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(MARK):
                found: dict[str, Any] = json.loads(line.removeprefix(MARK))
                return found
        code = self._process.wait()
        raise RuntimeError(f"{self.name} must give an answer; it ended with {code}: {self._last_words()}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-SHOWN_CHARACTERS:]


def peak_mb() -> float:
    """The largest resident memory of this process so far, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: after an exec that one still counts what the parent held.
        high_water = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(high_water.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
