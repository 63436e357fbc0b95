"""Watch a champion's labelled rows one after another: its matured batches in, evidence out. Never decides."""

from typing import TYPE_CHECKING

from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.sequential_harm import SequentialAssessment, assess_change, assess_risk
from selfheal_assets.core.statistics.risk_monitor import brier_losses
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import SCORE, reference_of
from selfheal_assets.stages.champion_batches import labelled_stream

if TYPE_CHECKING:
    import pandas as pd


def risk_evidence(selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame") -> Evidence | None:
    """The declared detector's word on the champion's Brier losses since its promotion; None without a reference."""
    version = str(scores["champion_version"].iloc[0])
    reference = reference_of(selfheal, spec, version)
    if reference is None:
        return None
    stream = labelled_stream(selfheal, spec, version, batch_id)
    losses = brier_losses(stream["label"].to_numpy(dtype=float), stream[SCORE].to_numpy(dtype=float))
    held_out = reference.rows[reference.rows[SCORE].notna()]
    found: SequentialAssessment
    if spec.performance.detector == "adwin":
        found = assess_change(selfheal.change_detector(losses, spec.performance.alpha), len(losses))
    else:
        source = brier_losses(held_out[spec.data.label].to_numpy(dtype=float), held_out[SCORE].to_numpy(dtype=float))
        found = assess_risk(losses, source, tolerance=spec.performance.tolerance, alpha=spec.performance.alpha)
    value = found.mean if found.lower is None else found.lower
    return Evidence(
        model=spec.name,
        signal=Signal.RISK,
        status=found.status,
        batch_id=batch_id,
        champion_version=version,
        # When it was measured: labels of an older batch that came last make the newest statement about the stream.
        event_time=selfheal.clock.now(),
        value=value,
        threshold=found.threshold,
        sample_size=found.rows,
        reason=found.reason,
        strength=None if value is None or not found.threshold else value / found.threshold,
        details=found.to_details(),
    )
