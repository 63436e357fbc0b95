"""Benchmark: a code location with many models: its load, one tick of all its sensors, and a tick as histories grow.

python benchmarks/fleet.py --models 100 --retired 100000 --write docs/fleet.md        see benchmarks/README.md
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from fleet_history import batch_ids, set_live, write_past
from fleet_world import names, write_fleet
from fresh_process import MeasuringScript
from markdown import machine, publish_between, spread, table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

BEGIN, END = "<!-- measured: benchmarks/fleet.py --write -->", "<!-- end -->"
LOAD_GOAL_S, TICK_GOAL_S = 5.0, 30.0
ROUNDS = 3
ONE_MODEL_ROUNDS = 7
LIVE = 2_000
"""Partitions that are live at most (`sensors/arrivals.py`)."""
LOADED = ("imports", "definitions", "repository", "jobs")
"""Parts of the load; the snapshot is made afterwards, when the daemon and the web server ask for it."""
Found = dict[str, Any]


def use_fleet(folder: Path, models: int) -> Path:
    """A home for a location with so many models beside the bundled one; this process and its children use it."""
    from selfheal_assets.operations.home import INSTANCE, use_home
    from selfheal_assets.wiring import Services

    home = folder / "home"
    os.environ["SELFHEAL_OVERLAYS"] = str(write_fleet(folder / "overlay", models)) if models else ""
    use_home(home)
    (home / "dagster").mkdir(parents=True)
    shutil.copyfile(INSTANCE, home / "dagster" / "dagster.yaml")
    Services.from_environment().ledger.initialise()
    return home


def loaded() -> Found:
    """One fresh process."""
    with MeasuringScript("fleet_load.py") as script:
        return script.ask()


def ticked(rounds: int, beginning: str) -> list[Found]:
    """A fresh process: its first round, then warm ones."""
    with MeasuringScript("fleet_ticks.py", rounds, beginning) as script:
        return [script.ask() for _ in range(rounds)]


def aged(batches: int) -> Found:
    """The warm rounds of one model's sensors that has so many batches behind it, the newest of them live."""
    import dagster as dg

    from selfheal_assets.wiring import Services

    (model,) = names(1)
    records = write_past(Services.from_environment().ledger, model, batches)
    with dg.DagsterInstance.get() as instance:
        set_live(instance, f"{model}_batches", batch_ids(batches)[-LIVE:])
    first, *warm = ticked(ONE_MODEL_ROUNDS, f"{model}_")
    kinds = {kind: median(turn["cpu_ms"][kind] for turn in warm) for kind in first["cpu_ms"]}
    whole = [1e3 * turn["cpu"] for turn in warm]
    return {"batches": batches, "records": records, "first": 1e3 * first["cpu"], "warm": whole, "kinds": kinds}


def load_table(found: dict[int, list[Found]]) -> str:
    rows = []
    for models, turns in found.items():
        whole = [sum(turn["wall"][part] for part in LOADED) for turn in turns]
        cpu = [sum(turn["cpu"][part] for part in LOADED) for turn in turns]
        rows.append(
            [
                f"{models}: {turns[0]['sensors']} sensors, {turns[0]['jobs']} jobs",
                f"**{spread(whole)}**",
                spread(cpu),
                *(median(turn["cpu"][part] for turn in turns) for part in (*LOADED, "snapshot")),
                f"{median(turn['loaded_mb'] for turn in turns):,.0f}",
                f"{median(turn['peak_mb'] for turn in turns):,.0f}",
            ]
        )
    parts = [f"{part}, CPU s" for part in (*LOADED, "snapshot")]
    return table(["models", "load, s", "load, CPU s", *parts, "loaded, MB", "with the snapshot, MB"], rows)


def tick_table(found: dict[int, list[Found]]) -> str:
    rows = []
    for models, turns in found.items():
        for place, turn in enumerate(turns):
            label = f"{models}, {turn['sensors']} sensors: {'first round' if not place else f'round {place + 1}'}"
            rows.append([label, turn["wall"], f"**{turn['cpu']:.2f}**", 1e3 * turn["cpu"] / turn["sensors"]])
    return table(["models", "wall, s", "CPU, s", "CPU a tick, ms"], rows)


def kind_table(turns: list[Found]) -> str:
    kinds = turns[-1]["cpu_ms"]
    return table(["sensor", "CPU a tick, ms (median of the models)"], sorted(kinds.items(), key=lambda one: -one[1]))


def age_table(found: list[Found]) -> str:
    base = median(found[0]["warm"])
    rows = [
        [
            f"{one['batches']:,} batches, {min(one['batches'], LIVE):,} live",
            f"{max(0, one['batches'] - LIVE):,}",
            spread(one["warm"]),
            f"**{median(one['warm']) / base:.2f}**",
            one["first"],
            *(one["kinds"][kind] for kind in ("arrivals", "drift_sensor", "watchdog")),
        ]
        for one in found
    ]
    headers = ["history", "retired", "all sensors, CPU ms", "ratio", "first tick of a process, CPU ms"]
    return table([*headers, "arrivals, ms", "drift, ms", "watchdog, ms"], rows)


def report(loads: dict[int, list[Found]], ticks: dict[int, list[Found]], ages: list[Found]) -> str:
    most = max(loads)
    load = {way: median(sum(turn[way][part] for part in LOADED) for turn in loads[most]) for way in ("cpu", "wall")}
    tick = {way: max(turn[way] for turn in ticks[most]) for way in ("cpu", "wall")}
    flat = max(median(one["warm"]) for one in ages) / median(ages[0]["warm"])
    goals = [
        (f"{most} models load within {LOAD_GOAL_S:.0f} s", _seconds(load), _met(load["cpu"] <= LOAD_GOAL_S)),
        (
            f"their sensors tick once within {TICK_GOAL_S:.0f} s on a core, in the worst round",
            _seconds(tick),
            _met(tick["cpu"] <= TICK_GOAL_S),
        ),
        ("a tick costs the same as histories grow (1.5 or less)", f"{flat:.2f}", _met(flat <= 1.5)),
    ]
    parts = [
        "Judged by CPU seconds: all of it is one thread that computes, so that they are what it takes on a machine "
        "that does nothing else. The seconds that passed are beside them.",
        table(["goal", "measured", ""], goals),
        "**Load**, in a fresh process: from the first import until every job is resolved, as the code server does. "
        "The snapshot is what it then sends to the daemon and the web server. Median [least, greatest].",
        load_table(loads),
        "**A tick of every sensor** of idle models, on one core, by the function that the code server calls for the "
        "daemon: instance, resources, log and cursor included.",
        tick_table(ticks),
        kind_table(ticks[most]),
        "**One model as its history grows**, one more model declared beside it; warm rounds. Each batch is six records "
        "of the ledger, and one in 200 brings an incident of seven more.",
        age_table(ages),
        machine(),
    ]
    return "\n\n".join(parts)


def _seconds(of: dict[str, float]) -> str:
    return f"{of['cpu']:.1f} s of CPU, {of['wall']:.1f} s passed"


def _met(goal: bool) -> str:
    return "met" if goal else "missed"


def in_a_home(models: int, measure: Callable[[], Any]) -> Any:
    """What is measured over a fresh home with so many models beside the bundled one."""
    with tempfile.TemporaryDirectory(prefix="selfheal-fleet-") as folder:
        use_fleet(Path(folder), models)
        return measure()


def main(
    models: Annotated[int, typer.Option(min=2, help="Declared models.")] = 100,
    live: Annotated[str, typer.Option(help="Live partitions of one model, separated by commas.")] = "10,200,2000",
    retired: Annotated[int, typer.Option(min=0, help="Retired partitions beside live ones; 0: none.")] = 100_000,
    repeat: Annotated[int, typer.Option(min=1, help="Loads of each size, by turns.")] = 3,
    write: Annotated[Path | None, typer.Option(help="Also put the tables between the marks of this file.")] = None,
) -> None:
    """Measure a location with one model and with many."""
    sizes, lengths = (1, models), [int(part) for part in live.split(",")]
    lengths += [retired + LIVE] if retired else []
    loads: dict[int, list[Found]] = {size: [] for size in sizes}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(sizes) * (repeat + 1) + len(lengths))

        def step(what: str, size: int, measure: Callable[[], Any]) -> Any:
            progress.update(task, description=what)
            found = in_a_home(size - 1, measure)  # the bundled model is one of them
            progress.advance(task)
            return found

        for turn in range(repeat):
            for size in sizes:
                loads[size].append(step(f"load {turn + 1} of {size} models", size, loaded))
        ticks = {size: step(f"ticks of {size} models", size, lambda: ticked(ROUNDS, "")) for size in sizes}
        ages = [step(f"a model of {batches:,} batches", 2, lambda n=batches: aged(n)) for batches in lengths]
    publish_between(report(loads, ticks, ages), write, BEGIN, END)


if __name__ == "__main__":
    typer.run(main)
