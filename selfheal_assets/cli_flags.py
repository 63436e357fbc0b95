"""The commands `selfheal flags ...`: call one operation on the flags, print. Holds no logic."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.core.record import Record

flags = typer.Typer(help="Actions switched off and on at run time, without deploying anything.")
EVERY = "*"
Because = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


class Position(StrEnum):
    ON = "on"
    OFF = "off"


@flags.callback(invoke_without_command=True)
def show(context: typer.Context) -> None:
    """The flags that were ever set; without one everything is on. An action is held back when any flag on it is OFF."""
    if context.invoked_subcommand is not None:
        return
    from selfheal_assets.operations.flags import flags as every_flag
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import declared_models

    with said_plainly():
        services = opened(home_from_environment())
        found = every_flag(services.ledger, [spec.name for spec in declared_models(services)])
    console.print(_table(found) if found else "no flag was ever set: every action of every model is on")


@flags.command("set")
def set_flag(
    model: Annotated[str, typer.Argument(help="A declared model, or '*' for all.")],
    action: Annotated[str, typer.Argument(help="An action that touches production, or '*' for all.")],
    position: Annotated[Position, typer.Argument(help="on or off.")],
    reason: Because = "",
) -> None:
    """Switch an action of a model, in your name (SELFHEAL_USER, or the login). What already runs goes on."""
    _switch(model, action, on=position is Position.ON, reason=reason)


@flags.command()
def kill(reason: Because = "") -> None:
    """The kill switch: hold back every action of every model. Watching, quarantine and diagnosis go on."""
    _switch(EVERY, EVERY, on=False, reason=reason)


@flags.command()
def unkill(reason: Because = "") -> None:
    """Take the kill switch back. What was switched off by itself stays off."""
    _switch(EVERY, EVERY, on=True, reason=reason)


def _switch(model: str, action: str, *, on: bool, reason: str) -> None:
    from selfheal_assets.operations.flags import switch
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import declared_models
    from selfheal_assets.operations.person import present_person

    with said_plainly():
        services = opened(home_from_environment())
        # The kill switch works also where a declaration cannot be read.
        names = [] if model == EVERY else [spec.name for spec in declared_models(services)]
        now = services.clock.now()
        changed = switch(services.ledger, names, model, action, on=on, who=present_person(), reason=reason, now=now)
    what = f"{'every action' if action == EVERY else action} of {'every model' if model == EVERY else model}"
    console.print(f"{what} is {'now' if changed else 'already'} {'on' if on else 'off'}", markup=False)


def _table(found: "Sequence[Record]") -> Table:
    table = Table("model", "action", "position", "since (UTC)", "by", "reason", title="flags")
    for flag in found:
        colour = "red" if flag.status == "OFF" else "green"
        since = f"{flag.recorded_at:%Y-%m-%d %H:%M:%S}"
        said = [Text(str(flag.payload.get(name, ""))) for name in ("who", "reason")]
        table.add_row(flag.model, flag.subject, f"[{colour}]{flag.status}[/]", since, *said)
    return table
