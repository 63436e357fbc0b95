"""Measure all that a batch's labels say about its champion: labels and scores in, evidence out. Never decides."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.metadata import table
from selfheal_assets.stages.performance_evidence import performance_evidence
from selfheal_assets.stages.prior_evidence import prior_evidence
from selfheal_assets.stages.release_evidence import release_evidence
from selfheal_assets.stages.risk_evidence import risk_evidence

if TYPE_CHECKING:
    import pandas as pd


def label_evidence(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame"
) -> tuple[list[Evidence], Mapping[str, Any]]:
    """Performance first; then prior, the sequential test, and the release where it is watched. With its metadata."""
    label = labels_of(selfheal, spec, batch_id, scores)[spec.data.label].to_numpy(dtype=float, na_value=float("nan"))
    performance, metadata = performance_evidence(selfheal, spec, batch_id, scores)
    others = [
        *prior_evidence(selfheal, spec, batch_id, scores, label),
        risk_evidence(selfheal, spec, batch_id, scores),
        release_evidence(selfheal, spec, batch_id, scores, label),
    ]
    found = [performance, *(one for one in others if one is not None)]
    return found, {**metadata, "signals": signals(found)}


def signals(found: list[Evidence]) -> Any:
    """A table for the UI: one row a signal."""
    shown = ("value", "threshold", "reason")
    return table(
        [{"signal": str(e.signal), "status": str(e.status), **{n: getattr(e, n) for n in shown}} for e in found]
    )
