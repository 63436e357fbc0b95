"""Benchmark: requests a second and latency of our server, of MLflow's, and of a bare app over the same trees.

python benchmarks/serving.py --write docs/serving_benchmark.md        see benchmarks/README.md
"""

import json
import shlex
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from fresh_process import MeasuringScript
from markdown import publish
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from serving_home import Place
from serving_report import Measured, Setting, report
from serving_servers import BARE, Contender, contenders, cpu_seconds, serving
from serving_wire import event_id

IDS_A_MEASUREMENT = 10_000_000
SCORES_AGREE = 1e-5
"""MLflow's way through a table of doubles, and a float32 in each answer."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """How each server is loaded."""

    seconds: float
    warm_s: float
    connections: int
    rate: float


class Generator:
    """The load generator's process, a measurement at a time."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._plan = folder / "plan.json"
        self._script = stack.enter_context(MeasuringScript("serving_load.py", self._plan))
        stack.callback(self._end)
        self._asked = 0

    def measured(self, port: int, contender: Contender | None, load: Load, seconds: float, rate: float | None) -> Any:
        """Without a contender the target is `/health`."""
        self._asked += 1
        plan = {
            "port": port,
            "path": contender.path if contender else "/health",
            "contents": contender.contents if contender else None,
            "event_id": contender.event_id if contender else None,
            "first": self._asked * IDS_A_MEASUREMENT,
            "connections": load.connections,
            "seconds": seconds,
            "rate": rate,
        }
        self._plan.write_text(json.dumps(plan), encoding="utf-8")
        return self._script.ask()

    def _end(self) -> None:
        self._plan.write_text("null", encoding="utf-8")
        self._script.ask()


def measure_one(contender: Contender, wanted: float, generator: Generator, load: Load, logs: Path) -> Any:
    """One server in one round; what it did, and where it is the bare app, the generator's ceiling."""
    began = time.monotonic()
    with serving(contender, logs) as (port, pid):
        started = time.monotonic() - began
        require_score(contender, port, wanted)
        generator.measured(port, contender, load, load.warm_s, None)
        worked = cpu_seconds(pid)
        closed = generator.measured(port, contender, load, load.seconds, None)
        worked = cpu_seconds(pid) - worked
        found = Measured(
            name=contender.name,
            closed={**closed, "cpu_ms": 1000.0 * worked / max(1.0, closed["answered"])},
            opened=generator.measured(port, contender, load, 2 * load.seconds, load.rate),
            started_s=started,
        )
        ceiling = generator.measured(port, None, load, load.seconds, None) if contender.name == BARE else None
    return found, ceiling


def require_score(contender: Contender, port: int, wanted: float) -> None:
    """The first row's, so that all are known to do the same; RuntimeError for another one."""
    content = contender.contents[0]
    if contender.event_id is not None:
        content = {"rows": [{**content["rows"][0], contender.event_id: event_id(0)}]}
    response = httpx.post(f"http://127.0.0.1:{port}{contender.path}", json=content, timeout=60.0)
    if response.status_code != 200 or abs(contender.score_of(response.json()) - wanted) > SCORES_AGREE:
        raise RuntimeError(f"{contender.name} must answer {wanted}; received {response.status_code}: {response.text}")


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each server is measured, by turns.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.5, help="Of the closed loop; the open one takes twice as long.")
    ] = 6.0,
    warm: Annotated[float, typer.Option(min=0.5, help="Seconds of load before.")] = 3.0,
    connections: Annotated[int, typer.Option(min=1, max=128)] = 16,
    rate: Annotated[float, typer.Option(min=1.0, help="Requests a second in the open loop.")] = 200.0,
    write: Annotated[Path | None, typer.Option(help="Also write the report to this file.")] = None,
) -> None:
    """Measure four servers of the same model by turns."""
    began = time.monotonic()
    load = Load(seconds=seconds, warm_s=warm, connections=connections, rate=rate)
    found: list[Measured] = []
    ceilings: list[dict[str, float]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="selfheal-serving-") as folder,
        Progress(*columns, console=Console(stderr=True)) as progress,
        ExitStack() as stack,
    ):
        place = Place(folder=Path(folder))
        task = progress.add_task("training the model", total=4 * rounds)
        with MeasuringScript("serving_home.py", folder) as preparing:
            preparing.ask()
        generator, wanted = Generator(place.folder, stack), place.told()["scores"][0]
        others = contenders(place)
        for turn in range(rounds):
            for contender in others[turn % 4 :] + others[: turn % 4]:
                progress.update(task, description=f"round {turn + 1} of {rounds}: {contender.name}")
                measured, ceiling = measure_one(contender, wanted, generator, load, place.folder)
                found.append(measured)
                ceilings += [ceiling] if ceiling is not None else []
                progress.advance(task)
        setting = Setting(
            command=shlex.join(["python", "benchmarks/serving.py", *sys.argv[1:]]),
            rounds=rounds,
            warm_s=warm,
            connections=connections,
            rate=rate,
            trees=place.told()["trees"],
            seconds=time.monotonic() - began,
            ceiling=ceilings,
        )
    publish(report(found, setting), write)


if __name__ == "__main__":
    typer.run(main)
