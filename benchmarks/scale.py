"""Benchmark: a retraining by one process and by Dask workers, and the memory of an ingest, as the rows grow.

python benchmarks/scale.py --rows 100000,1000000 --workers 1,2        see benchmarks/README.md
"""

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from fresh_process import MeasuringScript
from ingest import Bench, Detector
from ingest_model import MODEL, batch
from ingest_stages import STAGES
from markdown import machine, spread, table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

BEGIN, END = "<!-- measured: benchmarks/scale.py --write -->", "<!-- end -->"
PART_ROWS = 250_000
NAMES = dict(zip(STAGES, ("raw", "check", "features", "predictions", "drift and performance"), strict=True))

Retrained = dict[tuple[int, int], list[dict[str, Any]]]
"""By (rows, workers); no workers: the engine `local`."""


def retrained(rows: int, workers: int, trials: int) -> dict[str, Any]:
    with MeasuringScript("scale_retrain.py", rows, workers, trials) as script:
        return script.ask()


def landed(bench: Bench, rows: int) -> Path:
    """A batch of that many rows, written in parts: this process stays small."""
    import pyarrow as pa
    from pyarrow import parquet

    path = bench.home.parent / f"{MODEL}-rows-{rows}.parquet"
    writer = None
    for part, start in enumerate(range(0, rows, PART_ROWS)):
        # Each part takes the place in time of a batch of its own, after those that made the champion.
        frame = batch(100 + part, min(PART_ROWS, rows - start))
        content = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or parquet.ParquetWriter(path, content.schema)
        writer.write_table(content)
    assert writer is not None
    writer.close()
    return path


def ingested(bench: Bench, rows: int) -> dict[str, Any]:
    """One batch, taken in by a process that has taken in a small one before."""
    files = [bench.file(), landed(bench, rows)]
    with MeasuringScript("scale_ingest.py", bench.home, *files) as script:
        warm, found = script.ask(), script.ask()
    files[-1].unlink()
    return {**found, "warm_mb": warm["peak_mb"]}


def retrain_table(found: Retrained) -> str:
    rows = []
    for (size, workers), turns in found.items():
        local = [turn["tuning"] + turn["fit"] for turn in found.get((size, 0), [])]
        whole = [turn["tuning"] + turn["fit"] for turn in turns]
        memory = [max(turn["workers_mb"]) for turn in turns if turn["workers_mb"]]
        rows.append(
            [
                f"{size:,}: {f'dask, {workers} workers' if workers else 'local'}",
                spread([turn["tuning"] for turn in turns]),
                spread([turn["fit"] for turn in turns]),
                f"{median(local) / median(whole):.2f}" if local else None,
                f"{turns[0]['pruned']} of {turns[0]['trials']}",
                f"{median(turn['peak_mb'] for turn in turns):,.0f}",
                f"{median(turn['drawn_mb'] for turn in turns):,.0f}",
                f"{median(memory):,.0f}" if memory else None,
            ]
        )
    headers = ["rows: engine", "tuning, s", "fit, s", "times as fast as local", "pruned", "run, MB"]
    return table([*headers, "of it the rows, MB", "largest worker, MB"], rows)


def ingest_table(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"{one['rows']:,}",
            f"{one['seconds']:.0f}",
            f"{one['peak_mb']:,.0f}",
            f"{one['warm_mb']:,.0f}",
            *(f"{one['stages'][stage]:,.0f}" for stage in STAGES),
        ]
        for one in found
    ]
    headers = ["rows of the batch", "seconds", "peak, MB", "of it warm, MB"]
    return table([*headers, *(f"{name}, MB" for name in NAMES.values())], rows)


def report(retrains: Retrained, ingests: list[dict[str, Any]], trials: int, repeat: int) -> str:
    learned = [
        f"Retraining: {trials} trials on two windows of four batches, then a fit on all rows; 16 features, four of "
        f"them categories; {repeat} of each, medians [least, greatest]; imports are warmed, the drawing of the rows is "
        "not in the seconds. Workers are processes of one thread each, on the same machine as the run.",
        retrain_table(retrains),
    ]
    taken_in = [
        "Ingest: one batch of 20 columns, 25 checks and 19 features through the whole ingest run, in a process that "
        "has taken in a small batch before; the memory is what is resident at most, in all and within each stage.",
        ingest_table(ingests),
    ]
    return "\n\n".join([*(learned if retrains else []), *(taken_in if ingests else []), machine()])


def publish(text: str, write: Path | None) -> None:
    """To stdout, and between the marks of the document where one is given."""
    print(text, flush=True)
    if write is not None:
        document = write.read_text(encoding="utf-8")
        before, _, rest = document.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            raise typer.BadParameter(f"{write} must have the marks {BEGIN} and {END}, in this order; add them.")
        write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError as error:
        raise typer.BadParameter(f"sizes must be whole numbers between commas; received {text!r}") from error


def main(
    rows: Annotated[str, typer.Option(help="Rows to learn from, separated by commas; empty: none.")] = "20000,100000",
    workers: Annotated[str, typer.Option(help="Numbers of Dask workers; 0 is the engine local.")] = "0,1,2",
    trials: Annotated[int, typer.Option(min=1, help="Of each study.")] = 12,
    repeat: Annotated[int, typer.Option(min=1, help="Retrainings of each kind.")] = 1,
    ingest_rows: Annotated[str, typer.Option(help="Rows of the ingested batches; empty: none.")] = "100000",
    write: Annotated[Path | None, typer.Option(help="Also put the tables between the marks of this file.")] = None,
) -> None:
    """Time retrainings by engine, and measure the memory of ingests."""
    kinds = [(size, count) for size in numbers(rows) for count in numbers(workers)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(kinds) * repeat + len(numbers(ingest_rows)))
        retrains: Retrained = {kind: [] for kind in kinds}
        for turn in range(repeat):
            for size, count in kinds:
                progress.update(task, description=f"{size:,} rows, {count} workers, turn {turn + 1} of {repeat}")
                retrains[size, count].append(retrained(size, count, trials))
                progress.advance(task)
        ingests = []
        if numbers(ingest_rows):
            with tempfile.TemporaryDirectory(prefix="selfheal-scale-") as folder:
                progress.update(task, description="the first champion")
                bench = Bench(Path(folder), Detector.SCIPY)
                for size in numbers(ingest_rows):
                    progress.update(task, description=f"an ingest of {size:,} rows")
                    ingests.append(ingested(bench, size))
                    progress.advance(task)
    publish(report(retrains, ingests, trials, repeat), write)


if __name__ == "__main__":
    typer.run(main)
