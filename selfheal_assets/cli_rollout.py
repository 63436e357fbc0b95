"""The commands `selfheal rollout ...`: call one operation on a model's rollout, print. Hold no logic."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.core.model_spec import ModelSpec
    from selfheal_assets.core.rollout_state import Rollout

rollout = typer.Typer(no_args_is_help=True, help="A challenger's way to everybody: look at it, hold it, end it.")
ModelName = Annotated[str, typer.Argument(help="Name of a declared model.")]
COLOURS = {"PASS": "green", "FAIL": "red"}


@rollout.command()
def status(model: ModelName) -> None:
    """The newest rollout: its steps, and what the gates said when it moved last."""
    from selfheal_assets.operations.rollouts import course

    with said_plainly():
        services, spec = _opened(model)
        found = course(services.ledger, spec)
    if not found:
        console.print(f"{model} never had a rollout")
        return
    console.print(_steps(found))
    if found[-1].results:
        console.print(_gates(found[-1]))


@rollout.command()
def pause(model: ModelName) -> None:
    """Hold it at its share of the traffic, in your name (SELFHEAL_USER, or the login). A failure still ends it."""
    from selfheal_assets.operations.person import present_person
    from selfheal_assets.operations.rollouts import pause as hold

    with said_plainly():
        services, spec = _opened(model)
        _say(hold(services.ledger, spec, present_person(), services.clock.now()))


@rollout.command()
def resume(model: ModelName) -> None:
    """Let it go on, in your name; the time for which it was held does not count."""
    from selfheal_assets.operations.person import present_person
    from selfheal_assets.operations.rollouts import resume as let_go_on

    with said_plainly():
        services, spec = _opened(model)
        _say(let_go_on(services.ledger, spec, present_person(), services.clock.now()))


@rollout.command()
def abort(model: ModelName, reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]) -> None:
    """End it, in your name: the champion answers again within seconds. The version may be tried again."""
    from selfheal_assets.operations.person import present_person
    from selfheal_assets.operations.rollouts import abort as end

    with said_plainly():
        services, spec = _opened(model)
        _say(end(services.ledger, spec, present_person(), reason, services.clock.now()))


def _opened(model: str) -> "tuple[Any, ModelSpec]":
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import model_named

    services = opened(home_from_environment())
    return services, model_named(services, model)


def _say(changed: "Rollout") -> None:
    held = ", paused" if changed.paused_at else ""
    said = f"the rollout of version {changed.challenger} is {changed.state}{held}: {changed.reason}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _steps(found: "Sequence[Rollout]") -> Table:
    last = found[-1]
    title = f"rollout {last.id} of {last.model}: version {last.challenger} in the place of {last.champion}"
    table = Table("since (UTC)", "state", "share", "verdict", "why", title=title)
    for one in found:
        state = f"{one.state}{' (paused)' if one.paused_at else ''}"
        verdict = Text(str(one.verdict) if one.results else "", style=COLOURS.get(one.verdict, ""))
        table.add_row(f"{one.changed_at:%Y-%m-%d %H:%M:%S}", state, f"{one.weight:.0%}", verdict, Text(one.reason))
    return table


def _gates(last: "Rollout") -> Table:
    table = Table("gate", "verdict", "worse by", "interval", "may be", title="what the judge said then")
    for one in last.results:
        low, high = one.interval or (None, None)
        between = "" if low is None else f"{low:+.4f} to {high:+.4f}"
        value, limit = (("" if number is None else f"{number:.4f}") for number in (one.value, one.threshold))
        table.add_row(one.name, Text(str(one.verdict), style=COLOURS.get(one.verdict, "")), value, between, limit)
    return table
