"""Judge a batch's drift: columns and tests' answers in, one verdict with its features out. Never runs a test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfheal_assets.core.drift_column import ComparedColumn
from selfheal_assets.core.drift_feature import (
    FeatureDrift,
    TwoSampleAnswer,
    judge_feature,
)
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import DriftSpec
from selfheal_assets.core.statistics.multiplicity import benjamini_hochberg

REASONS_SHOWN = 3
_GRAVEST_FIRST = (Status.RAISED, Status.UNKNOWN, Status.CLEAR)


@dataclass(frozen=True, kw_only=True)
class DriftAssessment:
    """The verdict on a batch."""

    status: Status
    features: tuple[FeatureDrift, ...]
    """Most drifted first: those that count before those weighted out, the gravest status first, then by PSI."""
    value: float | None
    """The largest PSI of a feature that counts; None when none could be measured."""
    threshold: float
    """The PSI from which a significant change matters."""
    rows: int
    """Rows of the batch that were compared."""
    reason: str


def assess_drift(
    spec: DriftSpec, columns: Sequence[ComparedColumn], answers: Mapping[str, TwoSampleAnswer]
) -> DriftAssessment:
    """Judge every column, then the batch. `answers` are the raw two-sample tests of the complete values, by feature.

    RAISED when a feature that counts is; else UNKNOWN when more than half of those that count are, or a heavy one (with
    at least an equal share of the counted importance) is; else CLEAR. The order of the columns does not matter.
    A feature without an answer is UNKNOWN. The score's distribution is judged by the same call with one column.
    """
    tested = [answers.get(column.feature) if column.enough(spec.min_rows) else None for column in columns]
    adjusted = benjamini_hochberg([answer.p_value if answer else math.nan for answer in tested])
    missing = benjamini_hochberg([column.missing_p for column in columns])
    features = tuple(
        judge_feature(spec, column, answer, adjusted_p=float(p), missing_p=float(missing_p))
        for column, answer, p, missing_p in zip(columns, tested, adjusted, missing, strict=True)
    )
    features = tuple(sorted(features, key=_most_drifted_first))
    counted = [feature for feature in features if not feature.weighted_out]
    status, reason = _overall(spec, counted, len(features))
    return DriftAssessment(
        status=status,
        features=features,
        value=max((feature.psi for feature in counted if feature.psi is not None), default=None),
        threshold=spec.psi_threshold,
        rows=max((len(column.batch) for column in columns), default=0),
        reason=reason,
    )


def _most_drifted_first(feature: FeatureDrift) -> tuple[bool, int, float, str]:
    psi = -1.0 if feature.psi is None else feature.psi
    return feature.weighted_out, _GRAVEST_FIRST.index(feature.status), -psi, feature.feature


def _overall(spec: DriftSpec, counted: Sequence[FeatureDrift], shown: int) -> tuple[Status, str]:
    if not shown:
        return Status.UNKNOWN, "there is no feature to compare"
    if not counted:
        return Status.UNKNOWN, (
            f"none of the {shown} features has {spec.min_importance_share:g} of the champion's importance: "
            "lower drift.min_importance_share"
        )
    raised = [feature for feature in counted if feature.status is Status.RAISED]
    unknown = [feature for feature in counted if feature.status is Status.UNKNOWN]
    if raised:
        return Status.RAISED, f"{_of(raised, counted)} drifted: {_reasons(raised)}"
    heavy = [feature for feature in unknown if _is_heavy(feature, counted)]
    if len(unknown) > len(counted) / 2 or heavy:
        return Status.UNKNOWN, f"{_of(unknown, counted)} could not be judged: {_reasons(heavy or unknown)}"
    largest = max(counted, key=lambda feature: -1.0 if feature.psi is None else feature.psi)
    beside = f"; {_of(unknown, counted)} could not be judged: {_reasons(unknown)}" if unknown else ""
    return Status.CLEAR, f"none of {len(counted)} counted features drifted; largest: {_reasons([largest])}{beside}"


def _is_heavy(feature: FeatureDrift, counted: Sequence[FeatureDrift]) -> bool:
    total = sum(other.importance or 0.0 for other in counted)
    return feature.importance is not None and 0.0 < total / len(counted) <= feature.importance * (1.0 + 1e-9)


def _of(some: Sequence[FeatureDrift], counted: Sequence[FeatureDrift]) -> str:
    return f"{len(some)} of {len(counted)} counted features"


def _reasons(features: Sequence[FeatureDrift]) -> str:
    shown = "; ".join(f"{feature.feature}: {feature.reason}" for feature in features[:REASONS_SHOWN])
    return shown if len(features) <= REASONS_SHOWN else f"{shown}; and {len(features) - REASONS_SHOWN} more"
