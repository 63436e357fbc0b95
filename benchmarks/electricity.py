"""Compare the loop on the public Elec2 stream with fixed schedules: the CSV in, a table out. Never tunes the policy."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from electricity_stream import (
    ROOT,
    Outcome,
    Played,
    compare,
    naive_accuracy,
    overlay,
    play,
    retrainings,
    weekly_batches,
)

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.model_spec import ModelSpec

REPORT = ROOT / "docs" / "electricity.md"
WEEKS_A_QUARTER = 13


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def report(played: Played, outcomes: Sequence[Outcome]) -> str:
    """The comparison as Markdown."""
    judged, found = played.judged(), retrainings(played)
    ended = ", ".join(f"{count} {status.lower()}" for status, count in Counter(s for _, s in found).items()) or "none"
    causes = ", ".join(f"{count} {cause}" for cause, count in Counter(str(c) for c, _ in found).items()) or "none"
    rows = sum(len(played.frame("raw", week)) for week in range(len(played.batch_ids)))
    clean = sum(len(played.frame("clean", week)) for week in range(len(played.batch_ids)))
    return "\n".join(
        [
            f"{len(played.batch_ids)} weekly batches, {rows:,} rows landed, {clean:,} clean. "
            f"Judged are the {len(judged)} weeks from number {judged[0]} on (the first is 0), the same for all.",
            "",
            *_policies(outcomes),
            "",
            f"Saying what the last half hour said is right in {naive_accuracy(played):.1%} of the same half hours.",
            "",
            f"selfheal's retrainings: by outcome {ended}; by cause {causes}.",
            "",
            "Mean AUC by quarter (13 weeks each, the last one shorter):",
            "",
            *_quarters(judged, outcomes),
            "",
            f"Seconds of the loop, {sum(played.seconds.values()):.0f} in all:",
            "",
            *_shares(played.seconds),
        ]
    )


def _policies(outcomes: Sequence[Outcome]) -> Iterator[str]:
    never, always = (_mean(outcome.auc) for outcome in outcomes[:2])
    yield "| policy | retrains | mean AUC | gain over never | share of the weekly gain | mean accuracy |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for outcome in outcomes:
        gain = _mean(outcome.auc) - never
        share = f"{gain / (always - never):.0%}" if always > never else "not defined"
        figures = f"{_mean(outcome.auc):.4f} | {gain:+.4f} | {share} | {_mean(outcome.accuracy):.1%}"
        yield f"| {outcome.name} | {outcome.retrains} | {figures} |"


def _quarters(judged: Sequence[int], outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"| weeks | {' | '.join(outcome.name for outcome in outcomes)} |"
    yield f"| --- |{' ---: |' * len(outcomes)}"
    for begin in range(0, len(judged), WEEKS_A_QUARTER):
        part = slice(begin, begin + WEEKS_A_QUARTER)
        means = " | ".join(f"{_mean(outcome.auc[part]):.3f}" for outcome in outcomes)
        yield f"| {judged[part][0]} to {judged[part][-1]} | {means} |"


def _shares(seconds: Mapping[str, float]) -> Iterator[str]:
    total = sum(seconds.values())
    yield "| step | seconds | share |"
    yield "| --- | ---: | ---: |"
    for step, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        yield f"| {step} | {spent:.0f} | {spent / total:.0%} |"


def page(table: str, spec: ModelSpec) -> str:
    """The document for readers: the report, and how it was measured."""
    return f"""# The model `electricity` on real data

Written by `python benchmarks/electricity.py elec2.csv --write`. The public Elec2 stream lands week by week; the real
sensors, checks, features, drift and performance reports, tuning, gate and promotion run in one process, with the clock
set to each week's last half hour. A week is scored by the champion of that moment before it is learned from.

"Never retrain" keeps the loop's own first champion. The schedules refit on all labelled rows of the newest
{max(spec.training.windows)} weeks, with the loop's trainer and feature frames and the parameters that Optuna found for
the first champion; nothing gates them, so no row is held out from them. selfheal holds out rows for its gate, tunes
anew for each candidate, and retrains only for harm. The first model counts for none. The policy in
`examples/electricity/models/electricity/defs.yaml` has no knowledge of weeks, but its settings were chosen on this
same stream: on another one expect less.

{table}
"""


def main(
    csv: Annotated[Path, typer.Argument(help="The Elec2 CSV: see examples/electricity/README.md.")],
    batches: Annotated[int | None, typer.Option(min=1, help="Only the first so many weeks.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder to work in and keep; else a temporary one.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Also write docs/electricity.md.")] = False,
) -> None:
    """Play Elec2 through the loop and through fixed schedules, and print the comparison."""
    from rich.console import Console
    from rich.progress import Progress

    # Kept apart from stderr, which holds Dagster's log while the loop runs.
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="selfheal-electricity-") as scratch, overlay():
            weeks = weekly_batches(csv, batches)
            with Progress(console=console) as progress:
                task = progress.add_task("weeks", total=len(weeks))
                for played in play(weeks, (home or Path(scratch)).absolute()):
                    progress.update(task, advance=1, description=f"weeks, {len(retrainings(played))} retrainings")
            table = report(played, compare(played))
            print(table)
            if write:
                REPORT.write_text(page(table, played.spec), encoding="utf-8")
    except SelfhealError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
