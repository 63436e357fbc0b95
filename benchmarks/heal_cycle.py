"""Benchmark: from the drifted files' landing to the alias move, in the real loop and in a bare script of the same work.

python benchmarks/heal_cycle.py --repeat 3        see benchmarks/README.md
"""

import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from fresh_process import MeasuringScript
from loop_timeline import BETWEEN, QUEUE, RECORD, SENSOR, START
from markdown import machine, publish, spread, table
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

GOAL = 1.5
STEPS = {
    "ingest": ("raw_batch", "checked_batch", "features", "predictions", "observed_batch"),
    "retrain": ("training_set", "tuned_parameters", "candidate_model", "validation_report", "champion_model"),
}
"""By job. The bare script's parts have the same names."""
OF_A_RUN = (SENSOR, RECORD, QUEUE, START)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One healing by the loop, and one by the bare script of the same files from the same state."""

    loop: dict[str, Any]
    bare: dict[str, Any]
    imports: dict[str, float]
    """Seconds by job that a fresh process needs for what its steps import."""

    @property
    def ratio(self) -> float:
        return float(self.loop["seconds"]) / float(self.bare["seconds"])

    def differences(self) -> list[str]:
        """What the two did not do alike; empty when the comparison is a fair one."""
        ours, theirs = self.loop["proof"], self.bare["proof"]
        return [key for key in ("data_hash", "trials", "window", "metric") if ours[key] != theirs[key]]


def healed_twice(rows: int, seed: int) -> Pair:
    """A fresh home, the loop, the home as it was before, the bare script."""
    with tempfile.TemporaryDirectory(prefix="selfheal-heal-cycle-") as folder:
        home, files, snapshot = (Path(folder, name) for name in ("home", "files", "snapshot"))
        loop = _asked("heal_loop.py", home, files, snapshot, rows, seed)
        # In the same place, as MLflow and Feast keep absolute paths.
        shutil.rmtree(home)
        snapshot.rename(home)
        begun = time.time()
        bare = _asked("bare_heal.py", home, files)
        imports = {job: _asked("import_cost.py", job)["seconds"] for job in STEPS}
        return Pair(loop=loop, bare={**bare, "seconds": bare["moved"] - begun}, imports=imports)


def _asked(script: str, *arguments: object) -> dict[str, Any]:
    with MeasuringScript(script, *arguments) as running:
        return running.ask()


def report(pairs: list[Pair], rows: int, seed: int) -> str:
    """Markdown."""
    loop, bare = ([float(getattr(pair, side)["seconds"]) for pair in pairs] for side in ("loop", "bare"))
    ratio = median(pair.ratio for pair in pairs)
    unlike = sorted({what for pair in pairs for what in pair.differences()})
    same = f"NO: {', '.join(unlike)} differ" if unlike else "yes: data hash, every trial's score, window, metric"
    headline = [
        ("loop, s", spread(loop)),
        ("bare script, s", spread(bare)),
        ("**ratio**", f"**{spread([pair.ratio for pair in pairs])}**"),
        (f"goal, {GOAL} or less", "met" if ratio <= GOAL else "missed"),
        ("the same work", same),
        ("loop: decided after, s", spread([pair.loop["decided_after"] for pair in pairs])),
        ("loop: recorded and new reference after, s", spread([pair.loop["closed_after"] for pair in pairs])),
    ]
    parts = [
        "# Heal cycle: from landing to the alias move",
        f"Two drifted files of {rows:,} rows, seed {seed}; {len(pairs)} of each, by turns. Median [least, greatest].",
        table(["", "measured"], headline),
        "## Where the loop's extra seconds go (medians)",
        table(["", "loop, s", "bare, s", "extra, s"], extra(pairs)),
        "## The same, moment by moment (medians; the loop's steps with their imports)",
        table(["", "loop, s", "bare, s", "extra, s"], moments(pairs)),
        machine(),
    ]
    return "\n\n".join(parts)


Row = tuple[str, float | None, float | None, float]


def _row(label: str, loop: float | None, bare: float | None) -> Row:
    return label, loop, bare, (loop or 0.0) - (bare or 0.0)


def _spent(pairs: list[Pair], side: str, *names: str) -> float | None:
    """Median of the seconds that a side spent on all of the names; None when it has none of them."""
    found = [sum(getattr(pair, side)["spent"].get(name, 0.0) for name in names) for pair in pairs]
    return median(found) if any(found) else None


def _whole(pairs: list[Pair]) -> Row:
    return _row("**all**", *(median(float(getattr(p, side)["seconds"]) for p in pairs) for side in ("loop", "bare")))


def _start(pairs: list[Pair]) -> float:
    """What the bare script's process needed before and after its parts."""
    return median(float(pair.bare["seconds"] - sum(pair.bare["spent"].values())) for pair in pairs)


def extra(pairs: list[Pair]) -> list[Row]:
    """By kind. Imports are not in Dagster's events: what fresh processes need for them is taken off the steps."""
    steps = [step for names in STEPS.values() for step in names]
    runs = [f"{kind} ({job})" for kind in OF_A_RUN for job in STEPS]
    imported = median(sum(pair.imports.values()) for pair in pairs)
    in_steps = (_spent(pairs, "loop", *steps) or 0.0) - imported
    return [
        _row("waiting for sensor ticks", _spent(pairs, "loop", *(r for r in runs if r.startswith(SENSOR))), None),
        _row(
            "creating, queueing and starting two runs, or one script",
            _spent(pairs, "loop", *(r for r in runs if not r.startswith(SENSOR))),
            _start(pairs),
        ),
        _row("imports: two processes, or one (measured apart)", imported, _spent(pairs, "bare", "imports")),
        _row("steps less imports: the work, and what only the loop does", in_steps, _spent(pairs, "bare", *steps)),
        _row(BETWEEN, _spent(pairs, "loop", BETWEEN), None),
        _whole(pairs),
    ]


def moments(pairs: list[Pair]) -> list[Row]:
    """In order."""
    rows = [
        _row("the script's own start", None, _start(pairs)),
        _row("imports at the beginning", None, _spent(pairs, "bare", "imports")),
    ]
    for job, steps in STEPS.items():
        rows += [_row(f"{kind} ({job})", _spent(pairs, "loop", f"{kind} ({job})"), None) for kind in OF_A_RUN]
        rows += [_row(f"step {step}", _spent(pairs, "loop", step), _spent(pairs, "bare", step)) for step in steps]
    return [*rows, _row(BETWEEN, _spent(pairs, "loop", BETWEEN), None), _whole(pairs)]


def main(
    repeat: Annotated[int, typer.Option(min=1, help="How often each side heals, by turns.")] = 3,
    rows: Annotated[int, typer.Option(min=2_000, help="Rows a batch.")] = 2_500,
    seed: Annotated[int, typer.Option(help="Seed of the payments world.")] = 7,
    write: Annotated[Path | None, typer.Option(help="Also write the report to this file.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Also write every measurement to this file, as JSON.")] = None,
) -> None:
    """Time the real loop against a bare script that does the same work on the same files with the same seeds."""
    # Asked to end, we end the script that runs Dagster; killed outright, we could not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    pairs: list[Pair] = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("healing", total=repeat)
        for turn in range(repeat):
            progress.update(task, description=f"healing {turn + 1} of {repeat}: bootstrap, loop, bare script")
            pairs.append(healed_twice(rows, seed))
            progress.advance(task)
    publish(report(pairs, rows, seed), write)
    if raw is not None:
        raw.write_text(json.dumps([asdict(pair) for pair in pairs], indent=1), encoding="utf-8")
    if any(pair.differences() for pair in pairs):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
