"""Run a real Dagster instance over the home, and servers' supervisor, as child processes. Ends only what it started."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from selfheal_assets.core.errors import HomeError
from selfheal_assets.core.failures import INSTANCE_ENDED
from selfheal_assets.project import PROJECT

WORKSPACE = PROJECT / "workspace.yaml"
PR_SET_PDEATHSIG = 1
STOP_SECONDS = 15
POLL_SECONDS = 0.3
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    __typename ... on PythonError { message } } } } } }"""


@contextmanager
def running_dagster(
    home: Path, port: int | None, *, start_seconds: float = 90.0, serve: Sequence[str] = ()
) -> Iterator[str]:
    """Yields the address of the UI once it answers; stops all processes on exit. Logs go to `<home>/logs`.

    `serve`: models whose servers are kept running beside it.

    Raises HomeError when another one runs over the same home, or when it does not come up in time.
    """
    # A plain `kill` must stop the children too: as an exception it passes through every `finally` on the way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    lock = FileLock(home / ".running.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HomeError(
            f"One Dagster instance at a time may run over a home; received {home}, which has one. Stop that one first."
        ) from error
    try:
        fail_orphaned_runs()
        chosen = port or _free_port()
        with _children(home, chosen, serve) as children:
            url = f"http://127.0.0.1:{chosen}"
            _wait_for(url, children, home, start_seconds)
            yield url
    finally:
        lock.release()


def fail_orphaned_runs() -> int:
    """Close the runs of an instance that was killed, so that the sensors ask for them again; how many there were."""
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

    begun = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    with DagsterInstance.get() as instance:
        orphans = instance.get_runs(RunsFilter(statuses=begun))
        for run in orphans:
            instance.report_run_failed(run, INSTANCE_ENDED)
    return len(orphans)


@contextmanager
def _children(home: Path, port: int, serve: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    programs = Path(sys.executable).parent
    commands = {
        "webserver": [str(programs / "dagster-webserver"), "-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(port)],
        "daemon": [str(programs / "dagster-daemon"), "run", "-w", str(WORKSPACE)],
    }
    if serve:
        commands["supervisor"] = [sys.executable, "-m", "selfheal_assets.operations.supervisor", *serve]
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    children: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with (logs / f"{name}.log").open("ab") as log:
                # A session of its own: the whole group can be ended, and Ctrl-C reaches us first.
                children.append(
                    subprocess.Popen(
                        command,
                        cwd=PROJECT,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        preexec_fn=end_with_parent,
                    )
                )
        yield children
    finally:
        for child in children:
            _stop(child)


def end_with_parent() -> None:
    """In a new child: it hears SIGTERM, whatever its parent ignores; on Linux it is sent one when its parent dies."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End a child and the code server and runs that it started, which are in its process group."""
    try:
        child.terminate()
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait(STOP_SECONDS)


def _wait_for(url: str, children: "list[subprocess.Popen[bytes]]", home: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for child in children:
            if child.poll() is not None:
                raise HomeError(
                    f"Dagster must stay up; received exit code {child.returncode} of {child.args!r}. "
                    f"See {home / 'logs'}."
                )
        if _loaded(url):
            return
        time.sleep(POLL_SECONDS)
    raise HomeError(f"Dagster must answer within {seconds:.0f} s; received no answer at {url}. See {home / 'logs'}.")


def _loaded(url: str) -> bool:
    """True once the code location is loaded. Raises HomeError when it cannot be."""
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": LOCATIONS}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except OSError:
        return False
    found = [entry["locationOrLoadError"] for entry in entries]
    broken = [location["message"] for location in found if location and "message" in location]
    if broken:
        raise HomeError(f"The declared models must load in Dagster; received: {broken[0]} Run `selfheal validate`.")
    return bool(found) and all(found)


def _free_port() -> int:
    """3000, where people expect the UI, or else any free port."""
    for candidate in (3000, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise HomeError("A free port on 127.0.0.1 is needed; received none. Pass --port.")
