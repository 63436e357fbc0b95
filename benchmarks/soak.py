"""Benchmark: a server under load for as long as you like, with faults injected; it passes, or it says what was lost.

python benchmarks/soak.py --minutes 30 --write docs/soak.md        see benchmarks/README.md
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from fresh_process import MeasuringScript
from markdown import publish
from rich.console import Console
from serving_home import MODEL, Place
from serving_servers import COMMON, free_port
from soak_faults import Injector, plan
from soak_memory import MemoryWatch
from soak_report import report
from soak_verdict import Run, checks, read_asked, read_landed

READY_SECONDS, END_SECONDS = 120.0, 60.0
SETTLE_SECONDS = 30.0
"""After the caches are full."""
PROGRAM = """
import sys
from pathlib import Path
from selfheal_assets.operations.supervisor import supervise
command = [sys.executable, "-m", "selfheal_assets.serving", f"--port={sys.argv[2]}", "--"]
supervise(Path(sys.argv[1]), [sys.argv[3]], lambda model: [*command, model])
"""


@contextmanager
def supervised(place: Place, port: int) -> Iterator[None]:
    """A server under its supervisor, ready inside; asked to end afterwards, so that its log has landed."""
    environment = {**os.environ, **COMMON, "SELFHEAL_HOME": str(place.home), "SELFHEAL_OVERLAYS": str(place.overlay)}
    command = [sys.executable, "-c", PROGRAM, str(place.home), str(port), MODEL]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + READY_SECONDS
        while not _is_ready(port):
            if time.monotonic() > ends or process.poll() is not None:
                raise RuntimeError(f"A server must be ready within {READY_SECONDS:.0f} s; see {place.home}/logs.")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5.0).status_code == 200
    except httpx.TransportError:
        return False


def soaked(place: Place, seconds: float, rate: float, connections: int, console: Console) -> Run:
    """All of it: load, faults, memory, and what has landed at the end."""
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.operations.home import opened
    from selfheal_assets.project import MODELS, PROJECT
    from selfheal_assets.server_files import servers_folder
    from selfheal_assets.serving.recent import MAX_ANSWERS

    told, port, answers = place.told(), free_port(), place.folder / "asked.tsv"
    serving = load_spec(PROJECT / MODELS / MODEL / "defs.yaml").serving
    registry = opened(place.home).registry
    asking = {"port": port, "rate": rate, "seconds": seconds, "connections": connections, "rows": told["rows"]}
    plan_file = place.folder / "asking.json"
    plan_file.write_text(json.dumps({**asking, "event_id": "payment_id"}), encoding="utf-8")
    assert registry.by_alias(MODEL, "champion") is not None, "asked before: its imports take seconds"
    injector = Injector(place.home, registry, told["versions"])
    with MemoryWatch(servers_folder(place.home, MODEL)) as memory, supervised(place, port):
        with MeasuringScript("soak_load.py", plan_file, answers) as script, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(script.ask)
            injector.run(plan(seconds), time.monotonic() + seconds, lambda kind: console.print(f"fault: {kind}"))
            asked.result()
        ended = time.time()
    return Run(
        asked=read_asked(answers),
        landed=read_landed(place.home / "landing" / MODEL),
        injected=injector.injected,
        memory=memory.samples,
        ended=ended,
        commit_s=serving.commit_ms / 1000.0,
        breaker_s=serving.breaker_seconds,
        settle_s=MAX_ANSWERS / rate + SETTLE_SECONDS,
    )


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="Of load, with faults.")] = 2.0,
    rate: Annotated[float, typer.Option(min=1.0, help="Requests a second.")] = 150.0,
    connections: Annotated[int, typer.Option(min=1, max=128)] = 32,
    write: Annotated[Path | None, typer.Option(help="Also write the report to this file.")] = None,
) -> None:
    """Load a supervised server, break its world, and account for every answer. Ends with 1 when a check failed."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="selfheal-soak-") as folder:
        place = Place(folder=Path(folder))
        with console.status("training the model"), MeasuringScript("serving_home.py", folder) as preparing:
            preparing.ask()
        run = soaked(place, 60.0 * minutes, rate, connections, console)
    found = checks(run)
    command = shlex.join(["python", "benchmarks/soak.py", *sys.argv[1:]])
    publish(report(run, found, command=command, rate=rate, minutes=minutes), write)
    if any(one.passed is False for one in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
