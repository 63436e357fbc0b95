"""Estimate the champion's performance from its scores alone: scores in, evidence out. Never looks at labels."""

from typing import TYPE_CHECKING

from selfheal_assets.core.estimated import assess_estimate
from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.performance import worst_allowed
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import SCORE, reference_of

if TYPE_CHECKING:
    import pandas as pd


def estimated_evidence(selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame") -> Evidence:
    """Calibrated on the rows that the champion was held out from."""
    version = str(scores["champion_version"].iloc[0])
    reference = reference_of(selfheal, spec, version)
    held_out = reference.rows[reference.rows[SCORE].notna()] if reference else None
    champion_metric = reference.profile["metric"] if reference else None
    threshold = worst_allowed(spec.performance, champion_metric)
    found = assess_estimate(
        spec,
        [] if held_out is None else held_out[spec.data.label].to_numpy(dtype=float),
        [] if held_out is None else held_out[SCORE].to_numpy(dtype=float),
        scores[SCORE].to_numpy(dtype=float),
        threshold,
    )
    drop = None if found.value is None or champion_metric is None else abs(found.value - champion_metric)
    return Evidence(
        model=spec.name,
        signal=Signal.ESTIMATED_PERFORMANCE,
        status=found.status,
        batch_id=batch_id,
        champion_version=version,
        event_time=scores[spec.data.event_timestamp].min().to_pydatetime(),
        value=found.value,
        threshold=threshold,
        sample_size=found.rows,
        reason=found.reason,
        strength=None if drop is None else drop / spec.performance.max_drop,
        details={
            "interval": list(found.interval) if found.interval else None,
            "calibration_error": found.calibration_error,
            "outside_support": found.outside_support,
            "champion_metric": champion_metric,
        },
    )
