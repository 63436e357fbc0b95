"""Keep the model servers of a home running: models in, server processes while it runs. Ends only what it started.

`python -m selfheal_assets.operations.supervisor MODEL...`: the child process of `selfheal up --serve MODEL...`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from selfheal_assets import supervision
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.server_reading import Death
from selfheal_assets.operations.dagster_processes import end_with_parent
from selfheal_assets.project import PROJECT, home_from_environment

POLL_SECONDS = 0.2
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Before a server that died is started again: doubled with every death in a row."""
SETTLED_SECONDS = 60.0
"""A server that lived so long did not die in a row."""
GRACE_SECONDS = 12.0
"""After it was asked to end: requests are finished, and the log is landed; then it is killed."""
Command = Callable[[str], Sequence[str]]


def server_command(model: str) -> list[str]:
    """A server on 127.0.0.1, on the port that the model declares."""
    return [sys.executable, "-m", "selfheal_assets.serving", "--", model]


class Supervised:
    """One model's server. All times are passed in, in seconds of a clock that never goes back."""

    def __init__(self, home: Path, model: str, command: Command = server_command) -> None:
        self._home, self.model, self._command = home, model, command
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._start_at = 0.0
        self._in_a_row = 0
        self._ending_since: float | None = None
        self._owed: list[str] = []
        """Decisions that are answered once the next process runs."""
        self._state = supervision.Supervision(pid=os.getpid(), since=datetime.now(UTC))

    def look(self, now: float) -> None:
        """Once: note a death, start what is due, end what is asked to be ended. Never blocks."""
        if self._process is not None and self._process.poll() is not None:
            self._gone(self._process, now)
        if self._process is None and now >= self._start_at:
            self._start(now)
        self._serve_requests(now)
        overdue = self._ending_since is not None and now - self._ending_since > GRACE_SECONDS
        if overdue and self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Ask the server to end; what stops it is `kill`."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def ended(self, seconds: float) -> None:
        """Wait for that, and kill it when it takes longer."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self, process: "subprocess.Popen[bytes]", now: float) -> None:
        self._process = None
        if self._ending_since is not None:
            self._ending_since, self._start_at = None, now
            self._tell(child=None)
            return
        self._in_a_row = 1 if now - self._started >= SETTLED_SECONDS else self._in_a_row + 1
        self._start_at = now + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (self._in_a_row - 1))
        death = Death(pid=process.pid, at=datetime.now(UTC), words=_how(process.returncode))
        self._tell(child=None, deaths=supervision.cut([*self._state.deaths, death]))

    def _start(self, now: float) -> None:
        logs = self._home / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"server-{self.model}.log").open("ab") as log:
            self._process = subprocess.Popen(
                list(self._command(self.model)),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
        self._started = now
        self._tell(child=self._process.pid)
        for decision in self._owed:
            words = f"the server was restarted as process {self._process.pid}"
            supervision.answer(self._home, self.model, decision, words)
        self._owed.clear()

    def _serve_requests(self, now: float) -> None:
        for request in supervision.requests(self._home, self.model):
            if request.decision_id in self._owed:
                continue
            if self._process is None:
                # It is about to be started anyway; a person or the policy has asked, so that it waits no longer.
                self._owed.append(request.decision_id)
                self._start_at, self._in_a_row = now, 0
            elif request.pids and self._process.pid not in request.pids:
                words = f"it had been replaced already, by process {self._process.pid}"
                supervision.answer(self._home, self.model, request.decision_id, words)
            else:
                self._owed.append(request.decision_id)
                self._in_a_row = 0
                if self._ending_since is None:
                    self._ending_since = now
                    self._process.terminate()

    def _tell(self, child: int | None, deaths: tuple[Death, ...] | None = None) -> None:
        self._state = replace(self._state, child=child, deaths=self._state.deaths if deaths is None else deaths)
        supervision.tell(self._home, self.model, self._state)


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


def supervise(home: Path, models: Sequence[str], command: Command = server_command) -> None:
    """Until SIGTERM or SIGINT; then every server is asked to end, and waited for."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: sys.exit(0))
    kept = [Supervised(home, model, command) for model in dict.fromkeys(models)]
    try:
        while True:
            for one in kept:
                _looked_at(one)
            time.sleep(POLL_SECONDS)
    finally:
        for one in kept:
            one.end()
        until = time.monotonic() + GRACE_SECONDS
        for one in kept:
            one.ended(max(0.1, until - time.monotonic()))


def _looked_at(one: Supervised) -> None:
    """A full disk, say, must not leave the other models without a server."""
    try:
        one.look(time.monotonic())
    except (OSError, SelfhealError) as error:
        print(f"{one.model}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    supervise(home_from_environment(), sys.argv[1:])
