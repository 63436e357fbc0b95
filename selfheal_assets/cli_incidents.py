"""The commands `selfheal incidents`, `approve` and `reject`: call one operation, print. Hold no logic."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table

from selfheal_assets.core.errors import IncidentError
from selfheal_assets.project import home_from_environment
from selfheal_assets.terminal import console, said_plainly

if TYPE_CHECKING:
    from selfheal_assets.core.model_spec import ModelSpec
    from selfheal_assets.stages.case_file import CaseFile

DAGSTER_URL = "http://localhost:3000"
IncidentId = Annotated[str, typer.Argument(metavar="ID", help="Id of the incident, or of the decision that waits.")]
Because = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


def incidents(
    incident: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show this one's case file: an incident's or a decision's id.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    ended: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    close: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="End the escalated incident ID, in your name. What is still raised then opens a new one.",
        ),
    ] = None,
) -> None:
    """The open incidents of every model, or the case file of one: seen, taken for, refused, done, cost, verified."""
    from selfheal_assets.operations.incidents import case_of, cases

    with said_plainly():
        services, models = _opened(model)
        if incident is None:
            if close is not None:
                raise IncidentError("Closing needs the id of an incident; received none. See `selfheal incidents`.")
            console.print(_table(cases(services.ledger, models, ended=ended), ended))
        elif close is not None:
            _close(services, models, incident, close)
        else:
            _show(services, case_of(services.ledger, models, incident))


def approve(incident: IncidentId, reason: Because = "") -> None:
    """Let the action that an incident waits with be carried out, in your name (SELFHEAL_USER, or the login)."""
    _answer(incident, approve=True, reason=reason)


def reject(incident: IncidentId, reason: Because = "") -> None:
    """Refuse the action that an incident waits with; the incident is escalated."""
    _answer(incident, approve=False, reason=reason)


def _opened(model: str | None = None) -> "tuple[Any, Sequence[ModelSpec]]":
    from selfheal_assets.operations.home import opened
    from selfheal_assets.operations.models import declared_models, model_named

    services = opened(home_from_environment())
    return services, declared_models(services) if model is None else [model_named(services, model)]


def _close(services: Any, models: "Sequence[ModelSpec]", incident: str, reason: str) -> None:
    from selfheal_assets.operations.incidents import close
    from selfheal_assets.operations.person import present_person

    ended = close(services.ledger, models, incident, who=present_person(), reason=reason, now=services.clock.now())
    console.print(f"{ended.id} is {ended.state}: {ended.reason}", markup=False, highlight=False, soft_wrap=True)


def _answer(incident: str, *, approve: bool, reason: str) -> None:
    from selfheal_assets.operations.incidents import answered
    from selfheal_assets.operations.person import present_person

    with said_plainly():
        services, models = _opened()
        who, now = present_person(), services.clock.now()
        said = answered(services.ledger, models, incident, approve=approve, who=who, reason=reason, now=now)
    what = f"{said.attempt.action} (decision {said.attempt.decision_id}) of incident {said.incident.id}"
    then = "the drift sensor requests its run" if approve else "the drift sensor escalates the incident"
    word = "approved" if approve else "rejected"
    console.print(f"{what} is {word} by {who}; {then}", markup=False, highlight=False, soft_wrap=True)


def _show(services: Any, case: "CaseFile") -> None:
    from selfheal_assets.operations.run_lookup import runs_of_case
    from selfheal_assets.stages.case_markdown import case_markdown

    url = os.environ.get("SELFHEAL_DAGSTER_URL") or DAGSTER_URL
    told = case_markdown(case, runs_of_case(services, case), url.rstrip("/"))
    console.print(Markdown(told, hyperlinks=console.is_terminal))


def _table(cases: "Sequence[CaseFile]", ended: bool) -> Table | str:
    if not cases:
        return "no incident" if ended else "no open incident; `selfheal incidents --all` lists those that ended"
    table = Table(title="incidents")
    for name in ("incident", "model", "opened (UTC)", "cause", "state", "action"):
        table.add_column(name, no_wrap=name in ("incident", "opened (UTC)", "cause"))
    for name in ("batches", "detected", "repaired", "metric: before → worst → after"):
        table.add_column(name, justify="right")
    for case in cases:
        i = case.incident
        state = f"{i.state} ({i.hold})" if i.hold else str(i.state)
        seconds = [f"{s:.0f} s" if s is not None else "" for s in (case.detected_s, case.repaired_s)]
        metric = " → ".join(f"{v:.3f}" for v in (i.before, case.worst, case.metric_after) if v is not None)
        opened = f"{i.opened_at:%Y-%m-%d %H:%M}"
        table.add_row(i.id, i.model, opened, i.cause, state, case.action, str(len(i.batch_ids)), *seconds, metric)
    return table
