"""Measure the share of label 1, and the features within each label: labelled rows in, evidence out. Never decides."""

from dataclasses import replace
from typing import TYPE_CHECKING

from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.prior_shift import (
    ConditionalAssessment,
    ConditionalComparison,
    PriorAssessment,
    assess_conditional,
    assess_prior,
)
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import Reference, reference_of
from selfheal_assets.stages.drift_frames import compare_frames
from selfheal_assets.stages.stored_columns import features_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NAMED_FEATURES = 12


def prior_evidence(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame", label: "np.ndarray"
) -> list[Evidence]:
    """PRIOR; and CONDITIONAL only where it is raised: nothing else asks for it. `label` (n,): nan where not known."""
    version = str(scores["champion_version"].iloc[0])
    reference = reference_of(selfheal, spec, version)
    if reference is None:
        return []
    found = _share(spec, reference, label)
    prior = Evidence(
        model=spec.name,
        signal=Signal.PRIOR,
        status=found.status,
        batch_id=batch_id,
        champion_version=version,
        event_time=scores[spec.data.event_timestamp].min().to_pydatetime(),
        value=found.value,
        threshold=found.threshold,
        sample_size=found.rows,
        reason=found.reason,
        strength=None if found.value is None else abs(found.value) / spec.drift.min_prior_move,
        details={
            "interval": list(found.interval) if found.interval else None,
            "share_reference": found.share_reference,
            "share_batch": found.share_batch,
        },
    )
    if found.status is not Status.RAISED:
        return [prior]
    return [prior, _conditional(spec, prior, _within_labels(selfheal, spec, reference, batch_id, label))]


def _share(spec: ModelSpec, reference: Reference, label: "np.ndarray") -> PriorAssessment:
    """The share of label 1 in the reference and in the batch; of labels that have not matured nothing is believed."""
    import numpy as np

    before, known = reference.rows[spec.data.label].to_numpy(dtype=float), np.isfinite(label)
    matured = bool(known.mean() >= spec.performance.min_matured)
    return assess_prior(
        int((before == 1.0).sum()),
        len(before),
        int((label == 1.0).sum()) if matured else 0,
        int(known.sum()) if matured else 0,
        p_threshold=spec.drift.p_threshold,
        min_move=spec.drift.min_prior_move,
        min_rows=spec.drift.min_rows,
    )


def _conditional(spec: ModelSpec, prior: Evidence, within: ConditionalAssessment) -> Evidence:
    """About the rows that the raised `prior` is about."""
    moved = [{"feature": f.feature, "label": f.label, "psi": f.psi} for f in within.features]
    return replace(
        prior,
        signal=Signal.CONDITIONAL,
        status=within.status,
        value=within.value,
        threshold=within.threshold,
        reason=within.reason,
        strength=None if within.value is None else within.value / spec.drift.psi_threshold,
        details={"features": moved[:NAMED_FEATURES]},
    )


def _within_labels(
    selfheal: Services, spec: ModelSpec, reference: Reference, batch_id: str, label: "np.ndarray"
) -> ConditionalAssessment:
    """The drift of the features that count, within the rows of each label."""
    names, detector = selfheal.features.names(spec), selfheal.detector(spec)
    importance = reference.profile.get("importance", {})
    counted = [name for name in names if importance.get(name, 1.0) >= spec.drift.min_importance_share]
    comparisons = []
    for value in (0, 1):
        before = reference.rows[reference.rows[spec.data.label] == value]
        after = features_of(selfheal, spec, batch_id, counted, label == value)
        for feature in compare_frames(spec, detector, before[counted], after, {}).features:
            comparisons.append(
                ConditionalComparison(
                    feature=feature.feature,
                    label=value,
                    p_value=feature.p_value,
                    psi=feature.psi,
                    reference_rows=len(before),
                    batch_rows=int((label == value).sum()),
                )
            )
    return assess_conditional(
        comparisons,
        p_threshold=spec.drift.p_threshold,
        psi_threshold=spec.drift.psi_threshold,
        min_rows=spec.drift.min_rows,
    )
