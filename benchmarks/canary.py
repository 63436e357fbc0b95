"""Benchmark: who lets a worse challenger through and who turns an equal one away, on simulated rollouts. No server.

python benchmarks/canary.py --write docs/canary.md        see benchmarks/README.md
"""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from canary_judges import Ended, FixedThreshold, Kayenta, peer, selfheal
from canary_report import Case, report
from canary_world import WORSE, Counting, Scenario
from markdown import publish
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from selfheal_assets.core.serving_spec import RolloutSpec

EQUAL = Scenario(name="equal")
ERRORS = Scenario(name="5 points more failed requests", errors=WORSE)
QUALITY = Scenario(name="Brier loss 5 points higher", brier=WORSE)
BUSINESS = Scenario(name="business value 5 points lower", business=WORSE)
MARGIN = Scenario(name="1 point more failed requests, the margin", errors=0.01)
LATE = Scenario(name="Brier loss 5 points higher, labels a day late", brier=WORSE, labels_after=1_440)
SCENARIOS = (EQUAL, ERRORS, QUALITY, LATE, MARGIN, BUSINESS)
ASIDE = (LATE, MARGIN, BUSINESS)
"""That no goal is about: a tenth of the rollouts."""
SPEC = RolloutSpec(over="requests", require_quality=True, max_hours=6.0)
"""Everything else is the default."""
SHORT, LONG = (4, 1, 1), (60, 60, 60)
"""Minutes of the steps of 5, 25 and 50 %: until 200 requests were answered, or as many points as Kayenta asks for."""
PEERS: tuple[FixedThreshold | Kayenta, ...] = (
    FixedThreshold(name="fixed threshold, 1 point, 200 requests a step", limit=0.01, minutes=SHORT),
    FixedThreshold(name="fixed threshold, 3 points, 200 requests a step", limit=0.03, minutes=SHORT),
    FixedThreshold(name="fixed threshold, 3 points, 60 minutes a step", limit=0.03, minutes=LONG),
    Kayenta(name="Mann-Whitney (Kayenta), 60 minutes a step, 1 run each", minutes=LONG, every=60),
    Kayenta(name="Mann-Whitney (Kayenta), 60 minutes a step, a run every 10", minutes=LONG, every=10),
)
CHUNK = 25


@dataclass(frozen=True, kw_only=True)
class Ours:
    """selfheal's judge in one setting."""

    name: str
    counting: Counting
    spec: RolloutSpec = SPEC


OURS = (
    Ours(name="selfheal, both score every row", counting="every row"),
    Ours(name="selfheal, each counted on its answers", counting="answered"),
)
FREE = Ours(
    name="selfheal, quality not required",
    counting="answered",
    spec=RolloutSpec(over="requests", max_hours=SPEC.max_hours),
)


def chunk(ours: Ours, scenario: Scenario, place: int, first: int, rollouts: int) -> list[Ended]:
    """Rollouts of one setting; a rollout has the same traffic whoever judges it first, and however many there are."""
    return [selfheal(scenario, ours.counting, ours.spec, [place, number]) for number in range(first, first + rollouts)]


def measure(rollouts: int, workers: int, scenarios: Sequence[Scenario] = SCENARIOS) -> list[Case]:
    """Every judge on every scenario, in as many processes, with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    found: dict[tuple[str, Scenario], list[list[Ended]]] = {}
    with (
        ProcessPoolExecutor(workers) as pool,
        Progress(*columns, *times, console=Console(stderr=True)) as progress,
    ):
        futures = {}
        for place, scenario in enumerate(SCENARIOS):
            if scenario not in scenarios:
                continue
            many = max(rollouts // 10, 1) if scenario in ASIDE else rollouts
            for ours in (*OURS, FREE) if scenario is LATE else OURS:
                parts = range(0, many, CHUNK)
                found[ours.name, scenario] = [[] for _ in parts]
                for number, first in enumerate(parts):
                    task = partial(chunk, ours, scenario, place, first, min(CHUNK, many - first))
                    futures[pool.submit(task)] = (ours.name, scenario, number)
            for judge in PEERS if scenario is not BUSINESS else ():
                found[judge.name, scenario] = [[]]
                futures[pool.submit(peer, judge, scenario, many, [place, 10**6])] = (judge.name, scenario, 0)
        bar = progress.add_task("rollouts, by parts", total=len(futures))
        for future in as_completed(futures):
            name, scenario, number = futures[future]
            found[name, scenario][number] = future.result()
            progress.advance(bar)
    return [
        Case(judge=name, scenario=scenario, ended=tuple(one for part in parts for one in part))
        for (name, scenario), parts in found.items()
    ]


def main(
    rollouts: Annotated[int, typer.Option(min=1, help="Of each judge in each scenario with a goal.")] = 1_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    write: Annotated[Path | None, typer.Option(help="Also write the report to this file.")] = None,
) -> None:
    """Simulate rollouts under selfheal's judge, a fixed threshold and Kayenta's rules."""
    began = time.monotonic()
    cases = measure(rollouts, workers)
    command = shlex.join(["python", "benchmarks/canary.py", *sys.argv[1:]])
    text = report(
        cases, SPEC, required=tuple(ours.name for ours in OURS), command=command, seconds=time.monotonic() - began
    )
    publish(text, write)


if __name__ == "__main__":
    typer.run(main)
