"""Benchmark: how often selfheal alarms for nothing, and how soon for something, beside three baselines.

python benchmarks/alarms.py --write docs/alarms.md        see benchmarks/README.md
"""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer
from alarms_baselines import EvidentlyOnFrames
from alarms_calibration import CALIBRATIONS, measured
from alarms_evidently import Evidently, cache_folder, environment
from alarms_report import Results, report
from alarms_scenarios import QUICK, Scenario, Size, scenarios
from alarms_streams import ChangeResult, StationaryResult, run_change, run_stationary
from markdown import publish
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Detector(StrEnum):
    ALIBI = "alibi"
    SCIPY = "scipy"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How the workers reach Evidently."""

    python: Path | None
    folder: Path


@lru_cache(maxsize=1)
def _evidently(asked: Asked) -> EvidentlyOnFrames:
    """One child a worker, started when it is needed first."""
    return EvidentlyOnFrames(Evidently(asked.python, asked.folder) if asked.python else None)


def _stationary(seed: int, size: Size, detector: str, asked: Asked) -> StationaryResult:
    return run_stationary(seed, size.stationary_batches, detector, _evidently(asked), size.evidently_batches)


def _change(scenario: Scenario, seed: int, size: Size, detector: str, asked: Asked) -> ChangeResult:
    return run_change(scenario, seed, detector, _evidently(asked) if seed < size.evidently_streams else None)


def tasks(declared: Sequence[Scenario], size: Size, detector: str, asked: Asked) -> list[Callable[[], Any]]:
    """Everything there is to run, the longest first."""
    stationary = [partial(_stationary, seed, size, detector, asked) for seed in range(size.stationary_streams)]
    changes = [
        partial(_change, one, seed, size, detector, asked)
        for one in sorted(declared, key=lambda one: -one.batches)
        for seed in range(one.streams)
    ]
    rates = []
    for kind, one in CALIBRATIONS.items():
        draws = max(round(one.draws * size.calibration), 1)
        chunks = [min(one.chunk, draws - begun) for begun in range(0, draws, one.chunk)]
        rates += [partial(measured, kind, number, some, detector) for number, some in enumerate(chunks)]
    return [*stationary, *changes, *rates]


def gathered(found: Sequence[Any]) -> Results:
    """The tasks' answers, in the tasks' order."""
    results = Results()
    for one in found:
        if isinstance(one, StationaryResult):
            results.stationary.append(one)
        elif isinstance(one, ChangeResult):
            results.changes.append(one)
        else:
            for name, (raised, draws) in one.items():
                before = results.rates.get(name, (0, 0))
                results.rates[name] = (before[0] + raised, before[1] + draws)
    return results


def run(wanted: Sequence[Callable[[], Any]], workers: int) -> list[Any]:
    """In as many processes; the answers in order, with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with ProcessPoolExecutor(workers) as pool:
        places = {pool.submit(task): place for place, task in enumerate(wanted)}
        found: list[Any] = [None] * len(wanted)
        with Progress(*columns, *times, console=Console(stderr=True)) as progress:
            bar = progress.add_task("streams and draws", total=len(wanted))
            try:
                for done in as_completed(places):
                    found[places[done]] = done.result()
                    progress.advance(bar)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return found


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run: its figures say nothing.")] = False,
    scale: Annotated[float, typer.Option(min=0.05, help="Streams and draws, relative to the default.")] = 1.0,
    detector: Annotated[Detector, typer.Option(help="Whose two-sample tests.")] = Detector.SCIPY,
    evidently: Annotated[bool, typer.Option(help="Install and ask Evidently, in its own environment.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    write: Annotated[Path | None, typer.Option(help="Also write the report to this file.")] = None,
) -> None:
    """Measure false alarms, recall and delay on simulated streams with the real core."""
    began = time.monotonic()
    size = QUICK if quick else Size().scaled(scale)
    python, why_not = environment(cache_folder()) if evidently else (None, "it was not asked for")
    declared = scenarios(size)
    with tempfile.TemporaryDirectory(prefix="selfheal-alarms-") as folder:
        asked = Asked(python=python, folder=Path(folder))
        found = gathered(run(tasks(declared, size, detector, asked), workers))
    command = shlex.join(["python", "benchmarks/alarms.py", *sys.argv[1:]])
    seconds = time.monotonic() - began
    why_not = f"not installed: {why_not}" if why_not else ""
    publish(report(declared, found, why_not, detector, command, seconds), write)


if __name__ == "__main__":
    typer.run(main)
