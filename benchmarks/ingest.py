"""Benchmark: rows a second through the ingest run, by stage, beside bare Great Expectations, Feast and Alibi Detect.

python benchmarks/ingest.py --sizes 10000,100000 --repeat 3        see benchmarks/README.md
"""

import os
import tempfile
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from fresh_process import MeasuringScript
from ingest_model import ACCOUNTS, BAD_ROW_SHARE, MODEL, batch, write_overlay
from ingest_stages import STAGES
from markdown import machine, publish, spread, table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from selfheal_assets.stages.drift_frames import BATCH_ROWS

SMALL_ROWS = 3_000
NAMES = dict(zip(STAGES, ("raw", "check", "features", "predictions", "drift and performance"), strict=True))
REST = "the run's own bookkeeping"


class Detector(StrEnum):
    ALIBI = "alibi"
    SCIPY = "scipy"


@dataclass(kw_only=True)
class Size:
    """Everything measured with batches of one size."""

    rows: int
    stages: list[dict[str, Any]] = field(default_factory=list)
    bare: list[dict[str, Any]] = field(default_factory=list)
    warm_mb: dict[str, float] = field(default_factory=dict)

    def seconds(self, stage: str) -> list[float]:
        """Of each repeat."""
        if stage == REST:
            return [turn["seconds"] - sum(turn["stages"].values()) for turn in self.stages]
        return [turn["stages"][stage] for turn in self.stages]

    def ratio(self, stage: str, call: str) -> list[float]:
        """Stage over bare call, of each repeat: the two took turns."""
        return [ours / theirs[call] for ours, theirs in zip(self.seconds(stage), self.bare, strict=True)]

    def inside(self, call: str) -> list[float]:
        """Seconds in the adapter that makes the call for the stage."""
        return [turn["inside"][call] for turn in self.stages if call in turn["inside"]]


class Bench:
    """A home with a champion in a temporary folder, and the files that are taken in."""

    def __init__(self, folder: Path, detector: Detector) -> None:
        self.home, self._files, self._indices = folder / "home", folder / "files", count()
        self.overlay = write_overlay(folder / "overlay", detector)
        # For this process's scripts: where the benchmark's model is declared.
        os.environ["SELFHEAL_OVERLAYS"] = str(self.overlay)
        with MeasuringScript("ingest_stages.py", self.home, "bootstrap", self.file(), self.file()) as script:
            script.ask()

    def file(self, rows: int = SMALL_ROWS) -> Path:
        """A new batch, later than all before it."""
        index = next(self._indices)
        self._files.mkdir(exist_ok=True)
        path = self._files / f"{MODEL}-{index:05d}.parquet"
        batch(index, rows).to_parquet(path, index=False)
        return path

    def measure(self, rows: int, repeat: int, progress: Progress, task: TaskID) -> Size:
        """Stages and bare calls by turns, each in a process of its own, after one small batch each."""
        size = Size(rows=rows)
        progress.update(task, description=f"{rows:,} rows: drawing {repeat} batches")
        files = [self.file(), *(self.file(rows) for _ in range(repeat))]
        with (
            MeasuringScript("ingest_stages.py", self.home, "measure", *files) as stages,
            MeasuringScript("ingest_bare.py", self.home, self.overlay, *files) as bare,
        ):
            for turn in range(len(files)):
                progress.update(task, description=f"{rows:,} rows: {f'turn {turn} of {repeat}' if turn else 'warming'}")
                ours, theirs = stages.ask(), bare.ask()
                if turn:
                    size.stages.append(ours)
                    size.bare.append(theirs)
                    progress.advance(task)
                else:
                    size.warm_mb = {"stages": ours["peak_mb"], "bare": theirs["peak_mb"]}
        for file in files:
            file.unlink()
        return size


def throughput(sizes: list[Size]) -> str:
    """A row a size: rows a second, and the share of each stage."""
    rows = []
    for size in sizes:
        whole = median(turn["seconds"] for turn in size.stages)
        shares = {stage: median(size.seconds(stage)) / whole for stage in (*STAGES, REST)}
        rows.append(
            [
                f"{size.rows:,}",
                spread([turn["seconds"] for turn in size.stages]),
                f"{size.rows / whole:,.0f}",
                *(f"{100 * share:.0f} %" for share in shares.values()),
            ]
        )
    return table(["rows", "seconds", "rows/s", *NAMES.values(), REST], rows)


def beside_bare(sizes: list[Size], detector: Detector) -> str:
    """A row a size and stage: the stage, its adapter's call, the bare call on the same rows, and the ratios."""
    drift = "TabularDrift" if detector is Detector.ALIBI else "SciPy's tests"
    compared = (
        ("check", "checked_batch", "gx", "Great Expectations"),
        ("features", "features", "feast", "get_historical_features"),
        ("drift", "observed_batch", "drift_sample", f"{drift}, {BATCH_ROWS:,} rows at most"),
        ("drift", "observed_batch", "drift_all", f"{drift}, all rows"),
    )
    rows = []
    for size in sizes:
        for name, stage, call, label in compared:
            bare, inside = [turn[call] for turn in size.bare], size.inside(call)
            over = [ours / theirs for ours, theirs in zip(inside, bare, strict=True)] if inside else None
            rows.append(
                [
                    f"{size.rows:,}: {name}",
                    spread(size.seconds(stage)),
                    spread(inside) if inside else None,
                    label,
                    spread(bare),
                    spread(size.ratio(stage, call)),
                    spread(over) if over else None,
                ]
            )
    headers = ["rows: stage", "stage, s", "its adapter, s", "bare call", "bare, s", "stage / bare", "adapter / bare"]
    return table(headers, rows)


def memory(sizes: list[Size]) -> str:
    """A row a size: the peak of each process, and how much of it was there after the small batch."""
    rows = [
        [
            f"{size.rows:,}",
            *(
                f"{figure:,.0f}"
                for side, turns in (("stages", size.stages), ("bare", size.bare))
                for figure in (turns[-1]["peak_mb"], size.warm_mb[side])
            ),
        ]
        for size in sizes
    ]
    return table(["rows", "stages, MB", "of it warm", "bare calls, MB", "of it warm"], rows)


def report(sizes: list[Size], repeat: int, detector: Detector) -> str:
    parts = [
        "# Ingest: rows a second through check, features and drift",
        f"20 columns, 25 checks, 19 features, {ACCOUNTS:,} accounts, {BAD_ROW_SHARE:.1%} bad rows; detector "
        f"{detector}; {repeat} of each size, medians [least, greatest]; steady state: imports and caches warmed by a "
        f"batch of {SMALL_ROWS:,} rows in the same process.",
        throughput(sizes),
        "## Beside the bare calls, by turns on the same files",
        beside_bare(sizes, detector),
        "## Peak memory",
        memory(sizes),
        machine(),
    ]
    return "\n\n".join(parts)


def main(
    sizes: Annotated[str, typer.Option(help="Rows a batch, separated by commas.")] = "10000,100000,1000000",
    repeat: Annotated[int, typer.Option(min=1, help="Measured batches of each size.")] = 3,
    detector: Annotated[Detector, typer.Option(help="Which two-sample tests.")] = Detector.ALIBI,
    write: Annotated[Path | None, typer.Option(help="Also write the report to this file.")] = None,
) -> None:
    """Time the stages of the ingest run, and the bare library calls beside them."""
    try:
        wanted = [int(size) for size in sizes.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"sizes must be whole numbers between commas; received {sizes!r}") from error
    if min(wanted) < 1_000:
        raise typer.BadParameter(f"a size must be at least 1,000 rows; received {min(wanted):,}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="selfheal-ingest-") as folder,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("the first champion", total=len(wanted) * repeat)
        bench = Bench(Path(folder), detector)
        found = [bench.measure(rows, repeat, progress, task) for rows in wanted]
    publish(report(found, repeat, detector), write)


if __name__ == "__main__":
    typer.run(main)
