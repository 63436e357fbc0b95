"""The commands `selfheal ledger ...`: call one operation on the ledger, print. Holds no logic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.progress import Progress
from rich.table import Table

from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.core.ledger_breaks import Break

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


def _break_table(found: "Sequence[Break]") -> Table:
    more = len(found) - SHOWN
    table = Table("record", "what", "found", caption=f"and {more} more" if more > 0 else None)
    for one in found[:SHOWN]:
        table.add_row(str(one.sequence), f"[red]{one.what}[/red]", one.sentence)
    return table
