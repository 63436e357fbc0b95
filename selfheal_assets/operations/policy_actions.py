"""Write down what selfheal does: the core's actions, holds and state machine in, Markdown out. Never decides."""

from selfheal_assets.core.causes import GRAVITY, PRODUCES_CANDIDATE, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.holds import Hold
from selfheal_assets.core.incident import ENDED, FAILURES, TRANSITIONS, IncidentState, Result
from selfheal_assets.core.policy import alternatives
from selfheal_assets.operations.attribute_docs import documented
from selfheal_assets.operations.held_example import example_spec, objections
from selfheal_assets.operations.markdown import code, markdown_table
from selfheal_assets.stages.jobs import retrain_name, rollback_name

NOT_DECLARED = {
    Cause.BAD_DATA: "always",
    Cause.NO_CHAMPION: "always: `retrain`, the first model",
    Cause.UNKNOWN: "always",
    Cause.NONE: "always",
}


def causes() -> str:
    """Each cause with the alternatives that are tried about it, as long as nothing else is declared."""
    spec = example_spec()
    rows = []
    for cause in GRAVITY:
        first, *later = [Action.RETRAIN] if cause is Cause.NO_CHAMPION else alternatives(spec, cause)
        where = "fixed" if cause in NOT_DECLARED else code(f"actions.{cause}")
        rows.append((code(cause), code(first), code(*later), where))
    return markdown_table(("cause", "first", "then", "declared by"), rows)


def actions() -> str:
    """Each action: what it does, and who carries it out."""
    docs = documented(Action, [action.name for action in Action])
    rows = [
        (code(a), docs[a.name], carried_out_by(a), "yes" if a in TOUCHES_PRODUCTION else "no: never held back")
        for a in Action
    ]
    return markdown_table(("action", "what it does", "carried out by", "touches production"), rows)


def carried_out_by(action: Action) -> str:
    """The job, or what stands in for one."""
    spec = example_spec()
    if action in PRODUCES_CANDIDATE:
        return f"the job `<model>{retrain_name(spec).removeprefix(spec.name)}`"
    if action is Action.ROLLBACK:
        return f"the job `<model>{rollback_name(spec).removeprefix(spec.name)}`"
    if action is Action.RESTART:
        return "the supervisor of `selfheal up`, asked through the port `Serving`"
    if action is Action.FALLBACK:
        return "the model server, before"
    if action in TOUCHES_PRODUCTION or action is Action.REFRESH_REFERENCE:
        return "**nothing yet**; do not declare it"
    return "the ingest, before" if action is Action.QUARANTINE else "the sensor"


def holds() -> str:
    """Each hold in the order in which it is asked, with what people read of it."""
    docs = documented(Hold, [hold.name for hold in Hold])
    rows = [
        (place, code(held.hold), docs[held.hold.name], f"“{held.reason}”")
        for place, held in enumerate(objections(), start=1)
    ]
    return markdown_table(("", "hold", "when", "what people read, for example"), rows)


def state_diagram() -> str:
    """The transitions, as Mermaid draws them; a state that leads to itself is left to `incident_states`."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {IncidentState.OPEN}"]
    for state, following in TRANSITIONS.items():
        lines += [f"    {state} --> {after}" for after in IncidentState if after in following and after is not state]
    lines += [f"    {state} --> [*]" for state in IncidentState if state in ENDED]
    return "\n".join([*lines, "```"])


def incident_states() -> str:
    """What each state means."""
    docs = documented(IncidentState, [state.name for state in IncidentState])
    rows = [
        (code(state), docs[state.name], "yes" if state in TRANSITIONS[state] else "no, it has ended")
        for state in IncidentState
    ]
    return markdown_table(("state", "what it means", "new evidence joins"), rows)


def results() -> str:
    """What came of one thing that was tried, in the words of the case file."""
    docs = documented(Result, [result.name for result in Result])
    rows = [(code(r), docs[r.name], "yes" if r in FAILURES else "no") for r in Result]
    return markdown_table(("result", "what it means", "counts as a failed heal"), rows)
