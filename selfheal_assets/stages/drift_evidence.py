"""Measure a batch's drift against the champion's reference: scores in, evidence and its pictures out. Never decides."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.drift import DriftAssessment
from selfheal_assets.core.drift_feature import FeatureDrift
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import SCORE, Reference, reference_of
from selfheal_assets.stages.drift_frames import compare_frames, compare_scores
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.stored_columns import features_of

if TYPE_CHECKING:
    import pandas as pd

NAMED_FEATURES = 12


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the evidence about one batch was made of."""

    features: DriftAssessment
    score: DriftAssessment
    reference: Reference
    batch: "pd.DataFrame"


def drift_evidence(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame"
) -> tuple[list[Evidence], dict[str, Any]]:
    """What `measured_drift` finds, and its pictures."""
    found, compared = measured_drift(selfheal, spec, batch_id, scores)
    return found, _pictures(compared, scores) if compared else {}


def measured_drift(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame"
) -> tuple[list[Evidence], Compared | None]:
    """Features against the reference's features, the score against the scores of the champion's own holdout."""
    version = str(scores["champion_version"].iloc[0])
    reference = reference_of(selfheal, spec, version)
    if reference is None:
        reason = f"champion {version} has no reference rows yet"
        signals = (Signal.DRIFT, Signal.SCORE_DRIFT)
        return [_unknown(spec, signal, batch_id, scores, reason) for signal in signals], None
    names, detector = selfheal.features.names(spec), selfheal.detector(spec)
    batch = features_of(selfheal, spec, batch_id, names)
    features = compare_frames(spec, detector, reference.rows[names], batch, reference.profile.get("importance", {}))
    held_out = reference.rows[SCORE].dropna().to_numpy()
    score = compare_scores(spec, detector, held_out, scores[SCORE].to_numpy())
    found = [
        _evidence(spec, Signal.DRIFT, batch_id, scores, features),
        _evidence(spec, Signal.SCORE_DRIFT, batch_id, scores, score),
    ]
    return found, Compared(features=features, score=score, reference=reference, batch=batch)


def _evidence(
    spec: ModelSpec, signal: Signal, batch_id: str, scores: "pd.DataFrame", found: DriftAssessment
) -> Evidence:
    named = [
        {"feature": f.feature, "psi": f.psi, "importance": f.importance, "status": str(f.status)}
        for f in found.features[:NAMED_FEATURES]
    ]
    return replace(
        _unknown(spec, signal, batch_id, scores, found.reason),
        status=found.status,
        value=found.value,
        strength=None if found.value is None else found.value / spec.drift.psi_threshold,
        details={"features": named},
    )


def _unknown(spec: ModelSpec, signal: Signal, batch_id: str, scores: "pd.DataFrame", reason: str) -> Evidence:
    return Evidence(
        model=spec.name,
        signal=signal,
        status=Status.UNKNOWN,
        batch_id=batch_id,
        champion_version=str(scores["champion_version"].iloc[0]),
        event_time=scores[spec.data.event_timestamp].min().to_pydatetime(),
        value=None,
        threshold=spec.drift.psi_threshold,
        sample_size=len(scores),
        reason=reason,
    )


def _pictures(compared: Compared, scores: "pd.DataFrame") -> dict[str, Any]:
    import dagster as dg

    from selfheal_assets.stages.plots import as_markdown, drift_plot, score_plot

    reference, score = compared.reference.rows, compared.score
    drawn = drift_plot(compared.features, reference, compared.batch)
    score_drawn = score_plot(score, reference[SCORE].dropna().to_numpy(), scores[SCORE].to_numpy())
    return {
        "features": table([_row(f) for f in (*compared.features.features, *score.features)]),
        "feature_plot": dg.MetadataValue.md(as_markdown(drawn, "drift by feature")),
        "score_plot": dg.MetadataValue.md(as_markdown(score_drawn, "score distribution")),
        "score_psi": number(score.value),
    }


def _row(feature: FeatureDrift) -> dict[str, Any]:
    return {
        "feature": feature.feature,
        "status": str(feature.status),
        "psi": feature.psi,
        "adjusted_p": feature.adjusted_p,
        "test": feature.test,
        "missing": feature.missing_batch,
        "importance": feature.importance,
        "counts": not feature.weighted_out,
        "reason": feature.reason,
    }
