"""Measure all that a batch's labels say about its champion: labels and scores in, evidence out. Never decides."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.metadata import table
from selfheal_assets.stages.performance_evidence import measured_performance, performance_evidence
from selfheal_assets.stages.prior_evidence import prior_evidence
from selfheal_assets.stages.release_evidence import release_evidence
from selfheal_assets.stages.risk_evidence import risk_evidence

if TYPE_CHECKING:
    import pandas as pd


def label_evidence(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame"
) -> tuple[list[Evidence], Mapping[str, Any]]:
    """Performance first; then prior, the sequential test, and the release where it is watched. With its metadata."""
    performance, metadata = performance_evidence(selfheal, spec, batch_id, scores)
    found = [performance, *_beside_performance(selfheal, spec, batch_id, scores)]
    return found, {**metadata, "signals": signals(found)}


def measured_labels(selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame") -> list[Evidence]:
    """The evidence of `label_evidence` alone: nothing is drawn."""
    performance, _, _ = measured_performance(selfheal, spec, batch_id, scores)
    return [performance, *_beside_performance(selfheal, spec, batch_id, scores)]


def _beside_performance(selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame") -> list[Evidence]:
    label = labels_of(selfheal, spec, batch_id, scores)[spec.data.label].to_numpy(dtype=float, na_value=float("nan"))
    others = [
        *prior_evidence(selfheal, spec, batch_id, scores, label),
        risk_evidence(selfheal, spec, batch_id, scores),
        release_evidence(selfheal, spec, batch_id, scores, label),
    ]
    return [one for one in others if one is not None]


def signals(found: list[Evidence]) -> Any:
    """A table for the UI: one row a signal."""
    shown = ("value", "threshold", "reason")
    return table(
        [{"signal": str(e.signal), "status": str(e.status), **{n: getattr(e, n) for n in shown}} for e in found]
    )
