"""Lay out for a terminal what the ledger tells: status, quarantine and the demonstration. Computes nothing."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.operations import story
from selfheal_assets.operations.quarantine import Quarantined, quarantined
from selfheal_assets.simulator.faults import FAULTS
from selfheal_assets.stages.case_file import CaseFile
from selfheal_assets.wiring import Services

T = TypeVar("T")
LAST_BATCHES = 8
SHOWN_ROWS = 10
COLOURS = {
    "CLEAN": "green",
    "PARTIAL": "yellow",
    "QUARANTINED": "red",
    "CLEAR": "green",
    "RAISED": "red",
    "UNKNOWN": "yellow",
}


def _status(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def progress_bar(console: Console, items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, under a bar."""
    with Progress(console=console, transient=True) as progress:
        yield from progress.track(items, total=total, description=what)


def fault_table() -> Table:
    table = Table("fault", "true cause", "what happens", title="faults of the payments world")
    for fault in FAULTS.values():
        table.add_row(fault.name, fault.cause, fault.description)
    return table


def batch_table(batches: Sequence[story.BatchStory], title: str, faults: dict[str, str] | None = None) -> Table:
    table = Table(title=title)
    names = [
        "batch",
        *(["what it was"] if faults else []),
        "verdict",
        "clean",
        "quarantined",
        "drift",
        "metric",
        "done",
    ]
    for name in names:
        table.add_column(name, justify="right" if name in ("clean", "quarantined", "metric") else "left", no_wrap=True)
    for b in batches:
        fault = [faults.get(b.file_name, "")] if faults else []
        counts = f"{b.rows_clean:,}", f"{b.rows_quarantined:,}" if b.rows_quarantined else ""
        metric = Text(_number(b.metric), style=COLOURS.get(b.performance, ""))
        table.add_row(b.batch_id, *fault, _status(b.verdict), *counts, _status(b.drift), metric, b.action)
    return table


def incident_table(cases: Sequence[CaseFile], title: str) -> Table:
    table = Table("incident", "cause", "action", "state", title=title)
    for name in ("detected", "repaired", "before", "worst", "after"):
        table.add_column(name, justify="right")
    table.add_column("batches")
    for case in cases:
        i = case.incident
        seconds = [f"{s:.0f} s" if s is not None else "" for s in (case.detected_s, case.repaired_s)]
        figures = [_number(v) for v in (i.before, case.worst, case.metric_after)]
        batches = ", ".join(batch_id.rsplit("-", 1)[0] for batch_id in i.batch_ids)
        state = f"{i.state} ({i.hold})" if i.hold else str(i.state)
        table.add_row(i.id, i.cause, case.action, state, *seconds, *figures, batches)
    return table


def champion_table(champions: Sequence[story.Champion], metric: str) -> Table:
    table = Table("version", "promoted at (UTC)", "because of", f"holdout {metric}", title="champions")
    for c in champions:
        table.add_row(c.version, f"{c.promoted_at:%Y-%m-%d %H:%M:%S}", c.cause, _number(c.metric))
    return table


def status_of(services: Services, spec: ModelSpec) -> RenderableType:
    """One model at a glance."""
    champions = story.champions(services, spec)
    incidents = [case for case in story.case_files(services, spec) if not case.incident.ended]
    serving = (
        f"version {champions[-1].version}, {spec.performance.metric} {_number(champions[-1].metric)}"
        if champions
        else "none"
    )
    parts: list[RenderableType] = [Text(f"{spec.name}: champion {serving}", style="bold")]
    batches = story.batches(services, spec, limit=LAST_BATCHES)
    parts.append(batch_table(batches, "last batches") if batches else Text("no batch has landed"))
    parts.append(incident_table(incidents, "open incidents") if incidents else Text("no open incident"))
    held = quarantined(services, spec)
    parts.append(Text(f"in quarantine: {len(held)} batches, {sum(r.payload['rows_quarantined'] for r in held):,} rows"))
    return Group(*parts)


def quarantine_table(held: Sequence[Record]) -> RenderableType:
    if not held:
        return Text("nothing is in quarantine")
    table = Table("batch", "verdict", "rows", "reasons", title="quarantine")
    for record in held:
        reasons = "\n".join(record.payload["reasons"])
        table.add_row(record.subject, _status(record.status), f"{record.payload['rows_quarantined']:,}", reasons)
    return table


def quarantined_batch(found: Quarantined) -> RenderableType:
    parts: list[RenderableType] = [Text(f"{found.settled.subject}: {found.settled.status}", style="bold")]
    parts.extend(Text(f"- {reason}") for reason in found.reason["reasons"])
    parts.append(Text(f"kept in {found.folder}"))
    if found.rows is not None and len(found.rows):
        table = Table(*map(str, found.rows.columns), title=f"first of {len(found.rows):,} rows")
        for row in found.rows.head(SHOWN_ROWS).itertuples(index=False):
            table.add_row(*(str(value) for value in row))
        parts.append(table)
    return Group(*parts)
