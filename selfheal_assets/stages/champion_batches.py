"""List the batches that a champion was measured on, with their labels as known now. Never scores anything."""

from typing import TYPE_CHECKING

from selfheal_assets.core.evidence import Signal
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import SCORE
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.stored_columns import scores_of
from selfheal_assets.stages.tenure import began, of_term

if TYPE_CHECKING:
    import pandas as pd

EVIDENCE_READ = 1_000
STREAM_BATCHES = 60
"""The labelled stream of a champion reaches back so many batches at most: reading more would slow every ingest."""


def batches_under(selfheal: Services, spec: ModelSpec, version: str, present: str) -> list[str]:
    """In its present term, in the order in which they were measured first, the present one included."""
    records = selfheal.ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ)
    mine = of_term(reversed(records), version, began(selfheal.ledger, spec, version))
    measured = [record.subject for record in mine if record.payload["signal"] == Signal.DRIFT]
    return list(dict.fromkeys([*measured, present]))


def labelled_stream(selfheal: Services, spec: ModelSpec, version: str, present: str) -> "pd.DataFrame":
    """Columns label and score of the champion's matured batches, in the order in which their labels matured."""
    import pandas as pd

    batches = batches_under(selfheal, spec, version, present)[-STREAM_BATCHES:]
    labelled = selfheal.ledger.current(spec.name, RecordKind.LABELS, batches)
    ordered = sorted(batches, key=lambda b: (labelled[b].sequence if b in labelled else 0, batches.index(b)))
    parts = []
    for batch_id in ordered:
        if not selfheal.batches.has(spec.name, "scores", batch_id):
            continue
        scores = scores_of(selfheal, spec, batch_id)
        if str(scores["champion_version"].iloc[0]) == version:
            rows = labels_of(selfheal, spec, batch_id, scores)
            known = rows[rows[spec.data.label].notna()]
            if len(known) >= spec.performance.min_matured * len(rows):
                parts.append(known[[spec.data.label, SCORE]].set_axis(["label", SCORE], axis=1))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"label": [], SCORE: []}, dtype=float)
