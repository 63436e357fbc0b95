"""Take the model server's columns off a batch: rows in; events out, the answers kept apart. Never loses a column."""

from typing import TYPE_CHECKING, Any

from selfheal_assets.core import served_columns as served
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import BatchRows, Services
from selfheal_assets.stages.metadata import table

if TYPE_CHECKING:
    import pandas as pd

PART = "served"
"""The part of the batch store with a row for each answer: the event id, and the prediction log's columns."""


def event_rows(services: Services, spec: ModelSpec, batch_id: str, rows: BatchRows) -> BatchRows:
    """The rows without the prediction log's columns, which are kept once as the batch's part `served`.

    A server does not know the outcome: the label, where the file has no such column, is missing in each row.
    """
    reserved = [name for name in rows.columns if served.is_reserved(str(name))]
    if not reserved:
        return rows
    ordinary = [name for name in rows.columns if name not in reserved]
    if spec.data.event_id not in rows.columns:
        return rows.select(ordinary)
    if not services.batches.has(spec.name, PART, batch_id):
        with services.batches.writing(spec.name, PART, batch_id) as add:
            for part in rows.parts([spec.data.event_id, *reserved]):
                add(part)
    return rows.select(ordinary, [spec.data.label] if spec.data.label not in ordinary else [])


def repaired_event_rows(services: Services, spec: ModelSpec, batch_id: str, repaired: "pd.DataFrame") -> "pd.DataFrame":
    """The same of repaired rows: what they say of an event replaces what was kept of it, and all else stays."""
    import pandas as pd

    answers = _answers(spec, repaired)
    if answers is not None:
        if services.batches.has(spec.name, PART, batch_id):
            kept, answers = _alike(services.batches.read(spec.name, PART, batch_id), answers)
            event_id = spec.data.event_id
            answers = pd.concat([kept[~kept[event_id].isin(answers[event_id])], answers], ignore_index=True)
        services.batches.write(spec.name, PART, batch_id, answers)
    return _ordinary(repaired)


def shown(services: Services, spec: ModelSpec, batch_id: str) -> dict[str, Any]:
    """Rows answered by each version, and by where their features came from; nothing of a batch that was not served."""
    if not services.batches.has(spec.name, PART, batch_id):
        return {}
    answers = services.batches.rows(spec.name, PART, batch_id)
    columns = {"served_by_version": served.VERSION, "served_by_level": served.LEVEL}
    return {name: table(_counts(answers, column)) for name, column in columns.items() if column in answers.columns}


def _answers(spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame | None":
    """None of a batch that no server of ours answered. Without an event id nothing could be joined to them."""
    reserved = [str(name) for name in rows.columns if served.is_reserved(str(name))]
    if not reserved or spec.data.event_id not in rows.columns:
        return None
    return rows[[spec.data.event_id, *reserved]]


def _ordinary(rows: "pd.DataFrame") -> "pd.DataFrame":
    reserved = [name for name in rows.columns if served.is_reserved(str(name))]
    return rows.drop(columns=reserved) if reserved else rows


def _alike(kept: "pd.DataFrame", answers: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Of the same types: a repaired CSV says in text what the server wrote as numbers."""
    for name in kept.columns.intersection(answers.columns):
        if kept[name].dtype != answers[name].dtype:
            try:
                answers = answers.assign(**{name: answers[name].astype(kept[name].dtype)})
            except (ValueError, TypeError):
                kept = kept.assign(**{name: kept[name].astype("string")})
                answers = answers.assign(**{name: answers[name].astype("string")})
    return kept, answers


def _counts(answers: BatchRows, column: str) -> list[dict[str, Any]]:
    counts = answers.frame([column])[column].astype("string").fillna("unknown").value_counts()
    name = column.removeprefix(served.RESERVED)
    return [{name: value, "rows": int(rows)} for value, rows in counts.items()]
