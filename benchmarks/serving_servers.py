"""Start the servers that are compared, each a process group of its own, and end them. Never measures."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from serving_home import MODEL, WHOLE, Place
from soak_memory import family

START_SECONDS, END_SECONDS = 120.0, 30.0
FOLDER = Path(__file__).resolve().parent
COMMON = {
    # Of the same trees, a single row is scored by one thread: more of them wait for each other.
    "OMP_NUM_THREADS": "1",
    # Nobody writes a line a request: uvicorn's own variable, which `mlflow models serve` hands on.
    "UVICORN_ACCESS_LOG": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    # MLflow calls uvicorn by its name.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to serve the model, and what it is asked."""

    name: str
    command: tuple[str, ...]
    """`{port}` stands for the port."""
    path: str
    contents: list[Any]
    ready: str = "/health"
    event_id: str | None = None
    """The column of a row that makes each request another one."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def score_of(self, answer: dict[str, Any]) -> float:
        """Of the first row."""
        scores = answer.get("scores", answer.get("predictions"))
        return float(scores[0] if scores is not None else answer["answers"][0]["score"])


FEATURES, PLAIN = "selfheal, features from Feast", "selfheal, every column in the request"
MLFLOW, BARE = "mlflow models serve", "bare FastAPI app"


def contenders(place: Place) -> list[Contender]:
    """In the order of the tables."""
    told = place.told()
    python = sys.executable
    ours = (python, "-m", "selfheal_assets.serving", "--port={port}", "--")
    own = {"SELFHEAL_HOME": str(place.home), "SELFHEAL_OVERLAYS": str(place.overlay)}
    uvicorn = (python, "-m", "uvicorn", "--app-dir", str(FOLDER), "--port={port}", "--no-access-log")
    serve = (python, "-m", "mlflow", "models", "serve", "--env-manager", "local")
    rows, whole, encoded = ([{"rows": [row]} for row in told["rows"]], told["whole"], told["encoded"])
    return [
        Contender(
            name=FEATURES,
            command=(*ours, MODEL),
            path="/predict",
            contents=rows,
            ready="/ready",
            event_id="payment_id",
            environment=own,
        ),
        Contender(
            name=PLAIN,
            command=(*ours, WHOLE),
            path="/predict",
            contents=[{"rows": [row]} for row in whole],
            ready="/ready",
            event_id="payment_id",
            environment=own,
        ),
        Contender(
            name=BARE,
            command=(*uvicorn, "serving_bare:app"),
            path="/predict",
            contents=[{"rows": [row]} for row in whole],
            event_id="payment_id",
            environment={"SELFHEAL_BENCHMARK_MODEL": told["files"]},
        ),
        Contender(
            name=MLFLOW,
            command=(*serve, "-m", str(place.mlflow_model), "-h", "127.0.0.1", "-p", "{port}"),
            path="/invocations",
            contents=[{"dataframe_split": {"columns": encoded["columns"], "data": [row]}} for row in encoded["data"]],
        ),
    ]


@contextmanager
def serving(contender: Contender, logs: Path) -> Iterator[tuple[int, int]]:
    """Port and process of the server, once it is ready; it is ended at the end. RuntimeError when it does not start."""
    port = free_port()
    environment = {**os.environ, **COMMON, **contender.environment}
    file = logs / f"{contender.name}.log".replace(" ", "-")
    with file.open("ab") as log:
        process = subprocess.Popen(
            [part.format(port=port) for part in contender.command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}{contender.ready}", file)
        yield port, process.pid
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """`mlflow models serve` is a parent of the server: the group is asked."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """That the process and its children have worked so far, on all threads: a busy machine does not change it."""
    ticks = 0
    for each in family(pid):
        after_name = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Of 127.0.0.1; nobody holds it, so it may be taken by the time that it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            if httpx.get(url, timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    words = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
    raise RuntimeError(f"A server must be ready within {START_SECONDS:.0f} s; {url} is not: {words}")
