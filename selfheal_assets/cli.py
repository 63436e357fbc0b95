"""The command `selfheal`: reads arguments, calls one operation, prints. Holds no logic."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from selfheal_assets.cli_cluster import cluster
from selfheal_assets.cli_doctor import doctor
from selfheal_assets.cli_flags import flags
from selfheal_assets.cli_incidents import approve, incidents, reject
from selfheal_assets.cli_ledger import ledger
from selfheal_assets.cli_materialize import materialize
from selfheal_assets.cli_policy import policy
from selfheal_assets.cli_rehearse import rehearse
from selfheal_assets.cli_retention import retention
from selfheal_assets.cli_rollout import rollout
from selfheal_assets.cli_serve import serve
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps production tabular models healthy by itself. State is under SELFHEAL_HOME (default: .selfheal).",
)
quarantine = typer.Typer(no_args_is_help=True, help="Batches and rows that the checks kept out, and the way back.")
app.add_typer(quarantine, name="quarantine")
app.add_typer(ledger, name="ledger")
app.command()(rehearse)
app.command()(serve)
app.command()(policy)
app.command()(doctor)
app.command()(retention)
app.command()(materialize)
app.add_typer(flags, name="flags")
app.add_typer(rollout, name="rollout")
app.add_typer(cluster, name="cluster")
for command in (incidents, approve, reject):
    app.command()(command)

ModelName = Annotated[str, typer.Argument(help="Name of a declared model.")]
BatchId = Annotated[str, typer.Argument(help="Batch id, as `selfheal quarantine list` shows it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


def _ready(home: Path | None = None) -> Any:
    """The services over the home, made and migrated where needed."""
    from selfheal_assets.operations.home import initialise

    with console.status("preparing the home") as status:
        return initialise(home or home_from_environment(), lambda what: status.update(f"preparing the home: {what}"))


@app.command()
def init() -> None:
    """Make the home and migrate its databases; called by the other commands when needed."""
    with said_plainly():
        services = _ready()
    console.print(f"ready: {services.home}")


@app.command()
def validate() -> None:
    """Load every model, its Feast objects and its checks; report every mistake at once."""
    from selfheal_assets.operations.home import use_home
    from selfheal_assets.operations.models import mistakes
    from selfheal_assets.wiring import Services

    with said_plainly():
        use_home(home_from_environment())
        found = mistakes(Services.from_environment())
    for path, problems in found.items():
        console.print(f"[{'red' if problems else 'green'}]{'wrong' if problems else 'right'}[/] {path}", soft_wrap=True)
        for problem in problems:
            console.print(f"  {problem}", highlight=False, markup=False, soft_wrap=True)
    if any(found.values()):
        raise typer.Exit(1)


@app.command()
def simulate(
    faults: Annotated[list[str] | None, typer.Argument(help="Names of faults, one a batch; see --list.")] = None,
    rows: Annotated[int, typer.Option(help="Rows a batch.", min=1)] = 2_500,
    first: Annotated[int, typer.Option(help="Index of the first batch; batch i covers six hours.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the payments world.")] = 7,
    usual: Annotated[str, typer.Option(help="State of the world under `healthy` batches.")] = "healthy",
    labels_late: Annotated[
        int | None, typer.Option(help="Land each batch without labels, and its labels so many batches later.", min=1)
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only list the faults and their true causes.")] = False,
) -> None:
    """Drop batches of the simulated payments world into landing."""
    from selfheal_assets.operations.report import fault_table, progress_bar
    from selfheal_assets.simulator.landing import simulate as drop_batches
    from selfheal_assets.simulator.payments import PaymentsWorld, Regime

    if show:
        console.print(fault_table())
        return
    with said_plainly():
        folder = _ready().batches.landing("payments")
        plan = [(first + offset, fault) for offset, fault in enumerate(faults or ["healthy"])]
        dropping = drop_batches(
            PaymentsWorld(seed=seed), plan, rows, folder, usual=Regime(usual), labels_after=labels_late
        )
        for dropped in progress_bar(console, dropping, len(plan), "dropping"):
            console.print(f"{dropped.path.name}: {dropped.fault}, {dropped.rows} rows; truth: {dropped.cause}")


@app.command()
def status() -> None:
    """Each model: champion, last batches, open incidents, quarantine."""
    from selfheal_assets.operations.models import declared_models
    from selfheal_assets.operations.report import status_of

    with said_plainly():
        services = _ready()
        for spec in declared_models(services):
            console.print(status_of(services, spec))


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Port of the UI; by default 3000 or any free one.")] = None,
    traffic: Annotated[float, typer.Option(help="Seconds between simulated batches; 0 for none.", min=0)] = 20.0,
    serve_model: Annotated[
        list[str] | None,
        typer.Option("--serve", help="Keep a server of this model running, on its declared port; repeatable."),
    ] = None,
) -> None:
    """Start Dagster over the home and stay, with simulated traffic and model servers; Ctrl-C stops all."""
    from selfheal_assets.operations.dagster_processes import running_dagster
    from selfheal_assets.operations.models import model_named
    from selfheal_assets.operations.traffic import keep_dropping, wait

    with said_plainly():
        services = _ready()
        served = [model_named(services, name).name for name in serve_model or []]
        with running_dagster(services.home, port, serve=served) as url:
            console.print(f"[bold]Dagster UI: {url}[/bold]   (Ctrl-C stops it)")
            try:
                for dropped in keep_dropping(services, traffic) if traffic else wait():
                    console.print(f"dropped {dropped.path.name}: {dropped.fault}")
            except KeyboardInterrupt:
                console.print("stopping")


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Folder of the demonstration; made anew.")] = Path(".selfheal-demo"),
    port: Annotated[int | None, typer.Option(help="Port of the UI; by default 3000 or any free one.")] = None,
    rows: Annotated[int, typer.Option(help="Rows a batch.", min=2_000)] = 2_500,
    seed: Annotated[int, typer.Option(help="Seed of the payments world.")] = 7,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the result as JSON.")] = None,
    stay: Annotated[bool, typer.Option(help="Keep the UI running afterwards, until Ctrl-C.")] = False,
    phase_seconds: Annotated[float, typer.Option(help="Give up on a phase after this long.")] = 240.0,
    batches_only: Annotated[
        bool, typer.Option("--batches-only", help="Without a model server, live traffic and chaos: half the time.")
    ] = False,
) -> None:
    """Watch selfheal work: batches, a drift healed under live traffic, a bad release, and faults of the server."""
    from selfheal_assets.operations.dagster_processes import running_dagster
    from selfheal_assets.operations.demo import start_demonstration
    from selfheal_assets.operations.demo_report import demo_report
    from selfheal_assets.operations.demo_serving import MODEL, declare_served
    from selfheal_assets.operations.traffic import wait

    with said_plainly():
        empty = _emptied(home.absolute())
        if not batches_only:
            declare_served(empty)
        services = _ready(empty)
        with running_dagster(services.home, port, serve=[] if batches_only else [MODEL]) as url:
            console.print(f"[bold]Dagster UI: {url}[/bold]")
            demonstration = start_demonstration(
                services, rows=rows, seed=seed, phase_seconds=phase_seconds, batches_only=batches_only
            )
            for line in demonstration.play():
                console.print(f"{demonstration.elapsed_s:6.1f} s  {line}", highlight=False, soft_wrap=True)
            result = demonstration.result()
            if json_path:
                json_path.write_text(json.dumps(result.as_json(), indent=2), encoding="utf-8")
            console.print(demo_report(services, result, url))
            if stay:
                console.print("the UI stays until Ctrl-C")
                for _ in wait():
                    pass
    if result.failures():
        raise typer.Exit(1)


def _emptied(home: Path) -> Path:
    """A fresh folder for the demonstration; refuses to clear one that is not a demonstration's."""
    import shutil

    if home.exists() and any(home.iterdir()):
        if not (home / "layout").exists():
            raise SelfhealError(
                f"The demonstration's folder must be new, or an earlier demonstration's; received {home}. "
                "Give another --home."
            )
        shutil.rmtree(home)
    return home


@quarantine.command("list")
def list_quarantine(model: ModelName) -> None:
    """What is in quarantine, newest first."""
    from selfheal_assets.operations.models import model_named
    from selfheal_assets.operations.quarantine import quarantined
    from selfheal_assets.operations.report import quarantine_table

    with said_plainly():
        services = _ready()
        console.print(quarantine_table(quarantined(services, model_named(services, model))))


@quarantine.command()
def show(model: ModelName, batch: BatchId) -> None:
    """The reason, the place and some rows of one quarantined batch."""
    from selfheal_assets.operations.models import model_named
    from selfheal_assets.operations.quarantine import look_at
    from selfheal_assets.operations.report import quarantined_batch

    with said_plainly():
        services = _ready()
        console.print(quarantined_batch(look_at(services, model_named(services, model), batch)))


@quarantine.command()
def release(
    model: ModelName,
    batch: BatchId,
    reason: Reason,
    waive: Annotated[list[str] | None, typer.Option(help="Name of a check that shall not count; repeatable.")] = None,
    repaired: Annotated[Path | None, typer.Option(help="CSV or Parquet file that replaces the rows.")] = None,
    approved_by: Annotated[str, typer.Option(help="Who takes the responsibility.", envvar="USER")] = "",
) -> None:
    """Check a repaired or waived batch again, and run it and everything downstream."""
    from selfheal_assets.operations.models import model_named
    from selfheal_assets.operations.quarantine import release as release_batch

    with said_plainly():
        services = _ready()
        became = release_batch(
            services,
            model_named(services, model),
            batch,
            reason=reason,
            approved_by=approved_by,
            waive=waive or [],
            repaired=repaired,
        )
    console.print(f"{batch} is now {became}")


@quarantine.command()
def discard(model: ModelName, batch: BatchId, reason: Reason) -> None:
    """Give the quarantined part of a batch up. It stays on disk, put aside."""
    from selfheal_assets.operations.models import model_named
    from selfheal_assets.operations.quarantine import discard as discard_batch

    with said_plainly():
        services = _ready()
        discard_batch(services, model_named(services, model), batch, reason=reason)
    console.print(f"{batch} is discarded")
