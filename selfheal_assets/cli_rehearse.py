"""The command `selfheal rehearse`: reads arguments, plays the policy and its rivals, prints. Holds no logic."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.core.model_spec import ModelSpec
    from selfheal_assets.rehearsal.rehearse import Rehearsal, Source

SIMULATED = "simulated"


def rehearse(
    model: Annotated[str, typer.Argument(help="Name of a declared model.")],
    history: Annotated[
        str, typer.Option(help="`simulated`, or a folder: a SELFHEAL_HOME, or CSV and Parquet files of batches.")
    ] = SIMULATED,
    batches: Annotated[int | None, typer.Option(help="Batches a history; 32 of a simulated one.", min=4)] = None,
    rows: Annotated[int, typer.Option(help="Rows a simulated batch.", min=50)] = 2_500,
    seeds: Annotated[int, typer.Option(help="So many simulated histories, with the seeds 1, 2, ….", min=1)] = 2,
    faults: Annotated[
        str, typer.Option(help="Episodes of a simulated history, in order; see `selfheal simulate --list`.")
    ] = "bad_rows,benign_shift,unit_change,harmful_shift",
    labels_after: Annotated[int, typer.Option(help="Labels come so many batches after their rows.", min=0)] = 0,
    rivals: Annotated[
        str, typer.Option(help="never, always, every-K, and random: as often as the policy, at random batches.")
    ] = "never,always,every-4,random",
    draws: Annotated[int, typer.Option(help="How often the rival `random` is drawn for each history.", min=1)] = 3,
    tune: Annotated[bool, typer.Option(help="Tune each retraining with Optuna, as declared: slow.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core unless given.", min=1)] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write every figure as JSON.")] = None,
    plot_path: Annotated[Path | None, typer.Option("--plot", help="Also draw the first history as PNG.")] = None,
) -> None:
    """Run the declared policy over a history, with simulated time, before it is given the keys.

    The real core, detectors, checks, trainer and gates in this process, beside rivals that heal by a fixed schedule
    or at random. What asks for a person's approval is approved; `autonomy: observe` is played as `heal`.
    """
    from selfheal_assets.rehearsal.declared import model_named
    from selfheal_assets.rehearsal.rehearse import sources_of

    with said_plainly():
        spec = model_named(model)
        recorded = None if history == SIMULATED else Path(history).expanduser().absolute()
        sources = sources_of(_names(faults), recorded=recorded, batches=batches, rows=rows, seeds=seeds)
        settings = {"labels_after": labels_after, "draws": draws, "tune": tune}
        found = _played(spec, sources, names=_names(rivals), workers=workers, **settings)
        _show(spec, found)
        _write(spec, found, json_path, plot_path, {"history": history, "rows": rows, **settings})


def _played(spec: "ModelSpec", sources: "Sequence[Source]", **settings: Any) -> "list[Rehearsal]":
    from selfheal_assets.rehearsal.rehearse import rehearse as play_all

    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("rehearsing", total=None)
        return play_all(
            spec,
            sources,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
            **settings,
        )


def _show(spec: "ModelSpec", found: "Sequence[Rehearsal]") -> None:
    from selfheal_assets.rehearsal.report import incidents, report_table, verdict

    console.print(report_table(spec, found))
    opened = ", ".join(f"{count} {cause}" for cause, count in sorted(incidents(found).items())) or "none"
    console.print(f"Incidents of the policy: {opened}.", highlight=False)
    console.print(verdict(spec, found), highlight=False)


def _write(
    spec: "ModelSpec",
    found: "Sequence[Rehearsal]",
    json_path: Path | None,
    plot_path: Path | None,
    settings: Mapping[str, Any],
) -> None:
    from selfheal_assets.rehearsal.plot import rehearsal_plot
    from selfheal_assets.rehearsal.report import as_json

    if json_path:
        json_path.write_text(json.dumps(as_json(spec, found, **settings), indent=2, default=str), encoding="utf-8")
    if plot_path:
        plot_path.write_bytes(rehearsal_plot(found[0], spec.performance.metric))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
