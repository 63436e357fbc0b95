"""The commands `selfheal ledger ...`: call one operation on the ledger, print. Holds no logic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.core.ledger_breaks import Break
    from selfheal_assets.core.model_spec import ModelSpec
    from selfheal_assets.operations.replay import Difference
    from selfheal_assets.wiring import Services

ledger = typer.Typer(no_args_is_help=True, help="The record of all that was seen, decided and done, and its audit.")
SHOWN = 50


@ledger.command()
def verify() -> None:
    """Read the whole ledger and tell every record that was edited, deleted or moved; exit code 1 if there is any."""
    from selfheal_assets.operations.audit import verify as find_breaks
    from selfheal_assets.operations.home import use_home
    from selfheal_assets.wiring import Services

    with said_plainly():
        use_home(home_from_environment())
        records = Services.from_environment().ledger
        head = records.head()
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("reading the ledger", total=head.newest)
            found = find_breaks(records, lambda done, total: progress.update(bar, completed=done, total=total))
    if found:
        console.print(_break_table(found))
        console.print(
            f"[red]broken[/red]: {len(found)} breaks. Keep a copy of the database as it is, and ask who wrote to it."
        )
        raise typer.Exit(1)
    console.print(f"[green]sound[/green]: {head.sequence} records, each as it was written", highlight=False)
    console.print(f"head: {head.sequence} {head.hash}", highlight=False, soft_wrap=True)
    console.print("Note the head elsewhere: who rewrites the whole database cannot keep it.", highlight=False)


@ledger.command()
def replay(model: Annotated[str | None, typer.Option(help="Of this model only.")] = None) -> None:
    """Decide again, by today's core and policy, all that the policy decided; exit code 1 if any decision differs."""
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import declared_models, model_named
    from selfheal_assets.operations.replay import replay as decide_again

    with said_plainly():
        services = opened(home_from_environment())
        models = declared_models(services) if model is None else [model_named(services, model)]
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("deciding again", total=None)
            found = decide_again(
                services.ledger, models, lambda done, total: progress.update(bar, completed=done, total=total)
            )
        heals = _trails(services, models)
    if found.differences:
        console.print(_difference_table(found.differences))
    colour, word = ("red", "changed") if found.differences else ("green", "the same")
    console.print(
        f"[{colour}]{word}[/{colour}]: {found.decisions} decisions, {found.identical} identical, "
        f"{found.another_policy} identical but for the policy's fingerprint, {len(found.differences)} different",
        highlight=False,
        soft_wrap=True,
    )
    console.print(*heals, sep="\n", highlight=False, markup=False, soft_wrap=True)
    if found.differences:
        raise typer.Exit(1)


def _trails(services: "Services", models: "Sequence[ModelSpec]") -> list[str]:
    """The share of heals with a whole trail, and what each of the others lacks."""
    from selfheal_assets.operations.run_lookup import run_counter
    from selfheal_assets.operations.trail import complete, trails

    with run_counter(services) as runs:
        found = trails(services.ledger, models, lambda: services.registry, runs)
    if not found:
        return ["trails: no heal is over yet"]
    lacking = [t for t in found if t.missing]
    lines = [f"  {t.decision.subject} ({t.decision.payload['action']}) lacks {', '.join(t.missing)}" for t in lacking]
    whole = complete(found)
    share = f"trails: {whole} of {len(found)} heals ({whole / len(found):.0%}) have decision, run, MLflow tags, "
    return [f"{share}outcome and verification", *lines[:SHOWN]]


def _difference_table(found: "Sequence[Difference]") -> Table:
    more = len(found) - SHOWN
    table = Table("decision", "model", "made at (UTC)", "what", "was", "would be", caption=_more(more))
    for one in found[:SHOWN]:
        made = f"{one.decision.recorded_at:%Y-%m-%d %H:%M:%S}"
        for number, (name, (was, would_be)) in enumerate(one.what.items()):
            first = ("", "", "") if number else (one.decision.subject, one.decision.model, made)
            table.add_row(*first, name, Text(str(was)), Text(str(would_be)))
    return table


def _more(count: int) -> str | None:
    return f"and {count} more" if count > 0 else None


def _break_table(found: "Sequence[Break]") -> Table:
    more = len(found) - SHOWN
    table = Table("record", "what", "found", caption=_more(more))
    for one in found[:SHOWN]:
        table.add_row(str(one.sequence), f"[red]{one.what}[/red]", one.sentence)
    return table
