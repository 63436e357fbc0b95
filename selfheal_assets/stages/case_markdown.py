"""Write a case file as Markdown for people: seen, taken for, refused, done, cost, verified. Never looks anything up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.incident import Attempt, Incident, IncidentState
from selfheal_assets.core.record import Record
from selfheal_assets.stages.case_file import CaseFile, raised

SHOWN = 30
"""Rows of a table, the newest."""
LONGEST_CELL = 400
Runs = Mapping[str, Sequence[str]]
"""The ids of the Dagster runs of each decision."""


def case_markdown(case: CaseFile, runs: Runs | None = None, dagster_url: str = "") -> str:
    """The whole case file. Runs are linked below `dagster_url`; without one the links are for Dagster's own UI."""
    i = case.incident
    sections = {
        "What was seen": _seen(case),
        "What it was taken for, and why": _taken_for(case),
        "What was considered and refused": _refused(case),
        "What was done": _done(case, runs or {}, dagster_url),
        "What it cost": _cost(case),
        "How it was verified": _verified(case),
        "All of it, in order": _timeline(case),
    }
    title = f"# Incident {i.id}: {_words(i.cause)}, {_words(i.state.lower())}"
    held = f", held back by **{_words(i.hold)}**" if i.hold else ""
    lead = f"Model **{i.model}**, opened {_moment(i.opened_at)}, state **{i.state}**{held}. {_cell(i.reason)}"
    parts = [title, lead]
    for heading, lines in sections.items():
        parts += [f"## {heading}", *lines]
    return "\n\n".join(parts) + "\n"


def _seen(case: CaseFile) -> Iterator[str]:
    found = sorted(raised(case), key=lambda e: (e.event_time, e.batch_id, e.signal))
    if not found:
        yield "Nothing is raised on its batches any more."
        return
    names = ("batch", "signal", "value", "threshold", "strength", "rows", "reason")
    yield from _table(names, [_signal(e) for e in found])


def _signal(e: Evidence) -> Sequence[str]:
    figures = (_number(e.value), _number(e.threshold), _strength(e.strength), f"{e.sample_size:,}")
    return (e.batch_id, _words(e.signal), *figures, e.reason)


def _strength(strength: float | None) -> str:
    """In thresholds: 2x is twice as far as what raises it."""
    return "" if strength is None else f"{_number(strength)}x"


def _taken_for(case: CaseFile) -> Iterator[str]:
    i = case.incident
    facts = {
        "cause": _words(i.cause),
        "features that carry it": ", ".join(i.features),
        "slices that fell most": ", ".join(i.slices),
        "it most likely began at batch": i.began_at,
        "champion that served": f"version {i.champion_version}" if i.champion_version else "none",
        f"{case.metric} before, and at its worst": _change(i.before, case.worst),
        f"mean loss of {case.metric}": _number(i.drop) if i.drop is not None else "",
    }
    yield _cell(i.diagnosis or i.reason)
    yield "\n".join(f"- {name}: **{_cell(said)}**" for name, said in facts.items() if said)


def _refused(case: CaseFile) -> Iterator[str]:
    lines = [
        f"- {_moment(d.recorded_at)}, when **{d.payload['action']}** was {_decided(d)}: {_cell(no)}"
        for d in case.decisions
        for no in d.payload.get("refused", ())
    ]
    yield "\n".join(lines) or "Nothing."


def _decided(decision: Record) -> str:
    words = {"DECIDED": "decided", "AWAITING": "put to a person", "SUPPRESSED": "due and held back"}
    return words.get(decision.status, decision.status.lower())


def _done(case: CaseFile, runs: Runs, dagster_url: str) -> Iterator[str]:
    if not case.incident.tried:
        yield _untried(case.incident)
        return
    for number, attempt in enumerate(case.incident.tried, start=1):
        yield "\n".join(_attempt(case, number, attempt, runs.get(attempt.decision_id, ()), dagster_url))


def _untried(incident: Incident) -> str:
    if incident.state is IncidentState.ROLLED_BACK:
        return f"No decision was needed: {_cell(incident.reason)}."
    return "Nothing." if incident.ended else "Nothing yet."


def _attempt(case: CaseFile, number: int, attempt: Attempt, runs: Sequence[str], dagster_url: str) -> Iterator[str]:
    version = f", version {attempt.version}" if attempt.version else ""
    yield f"{number}. **{attempt.action}**, decided {_moment(attempt.decided_at)}: **{attempt.result}**{version}"
    yield f"    - decision {attempt.decision_id}"
    yield from _approval(case, attempt.decision_id)
    for run in runs:
        yield f"    - Dagster run [{run}]({dagster_url}/runs/{run})"
    outcome = case.outcomes.get(attempt.decision_id)
    if outcome:
        ended = f"{_words(outcome.status.lower())}, {_moment(outcome.recorded_at)}"
        yield f"    - {ended}: {_cell(outcome.payload['reason'])}"
        if outcome.payload.get("mlflow_run_id"):
            yield f"    - MLflow run [{outcome.payload['mlflow_run_id']}]({outcome.payload.get('mlflow', '')})"


def _approval(case: CaseFile, decision: str) -> Iterator[str]:
    asked = [d.payload["approval"] for d in case.decisions if d.subject == decision and "approval" in d.payload]
    if asked:
        ends = _moment(datetime.fromisoformat(asked[0]["expires"]))
        yield f"    - a person must approve it until {ends}: {_cell(asked[0]['why'])}"
    said = case.approvals.get(decision)
    if said:
        reason = f": {said.payload['reason']}" if said.payload.get("reason") else ""
        who = said.payload.get("who", "a person")
        yield f"    - {said.status.lower()} by {_cell(who)}, {_moment(said.recorded_at)}{_cell(reason)}"


def _cost(case: CaseFile) -> Iterator[str]:
    lines = []
    for decision in case.decisions:
        outcome, sums = case.outcomes.get(decision.subject), decision.payload.get("cost")
        spent = f"{(outcome.recorded_at - decision.recorded_at).total_seconds():.1f} s" if outcome else ""
        said = "; ".join(filter(None, (spent, _cell(sums or ""))))
        if said:
            lines.append(f"- **{decision.payload['action']}** ({_decided(decision)}): {said}")
    clock = {"to the diagnosis": case.detected_s, "to the end of the last action": case.repaired_s}
    lines += [f"- from the first batch's landing {name}: {s:.1f} s" for name, s in clock.items() if s is not None]
    yield "\n".join(lines) or "Nothing: no run was needed, and no sums are declared."


def _verified(case: CaseFile) -> Iterator[str]:
    i = case.incident
    if i.state in (IncidentState.RESOLVED, IncidentState.ROLLED_BACK):
        yield f"{i.state} {_moment(case.at[-1])}: {_cell(i.reason)}."
    else:
        yield f"Not yet: it is {i.state}."
    if case.metric_after is not None:
        yield f"{case.metric} at its worst, and after: **{_change(case.worst, case.metric_after)}**"
    if case.after:
        names = ("batch", "status", case.metric, "threshold", "rows")
        yield from _table(
            names,
            [
                (e.batch_id, str(e.status), _number(e.value), _number(e.threshold), f"{e.sample_size:,}")
                for e in case.after
            ],
        )


def _timeline(case: CaseFile) -> Iterator[str]:
    rows, told = list[Sequence[str]](), ""
    for incident, at in zip(case.transitions, case.at, strict=True):
        # A diagnosis that stands is told once: what is new in a line would be lost in it.
        why = incident.reason.replace(told, "as above") if told else incident.reason
        rows.append((_moment(at), str(incident.state), why))
        told = incident.diagnosis
    yield from _table(("at (UTC)", "state", "why"), rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(map(_cell, cells))} |"

    shown = rows[-SHOWN:]
    if len(shown) < len(rows):
        yield f"The newest {len(shown)} of {len(rows)}:"
    yield "\n".join([line(names), line("---" for _ in names), *map(line, shown)])


def _cell(value: object) -> str:
    """One line of plain text: nothing in it is taken for Markdown's tables, images or HTML."""
    text = " ".join(str(value).split())
    text = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return text.replace("|", "\\|").replace("<", "&lt;").replace("![", "!\\[")


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _change(first: float | None, second: float | None) -> str:
    known = [_number(value) for value in (first, second) if value is not None]
    return " → ".join(known)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
