"""Watch a champion's first batches: the previous one scores the same rows; evidence out. Never moves an alias."""

from typing import TYPE_CHECKING

from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.release import assess_release
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import PREVIOUS, SCORE, champion
from selfheal_assets.stages.champion_batches import batches_under
from selfheal_assets.stages.stored_columns import scored_by

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def release_evidence(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame", label: "np.ndarray"
) -> Evidence | None:
    """None outside the watch window, without a previous champion, and for rows that another champion scored."""
    version = str(scores["champion_version"].iloc[0])
    watched = batches_under(selfheal, spec, version, batch_id)[: spec.policy.watch_batches]
    if batch_id not in watched:
        return None
    serving, previous = champion(selfheal, spec), selfheal.registry.by_alias(spec.name, PREVIOUS)
    if serving is None or previous is None or serving.version != version or previous.version == version:
        return None
    before = scored_by(selfheal, spec, batch_id, selfheal.registry.load(previous))
    found = assess_release(spec.performance, label, scores[SCORE].to_numpy(), before, seed=spec.training.seed)
    return Evidence(
        model=spec.name,
        signal=Signal.RELEASE,
        status=found.status,
        batch_id=batch_id,
        champion_version=version,
        event_time=scores[spec.data.event_timestamp].min().to_pydatetime(),
        value=found.value,
        threshold=0.0,
        sample_size=found.rows,
        reason=found.reason,
        details={
            "previous_version": previous.version,
            "interval": list(found.interval) if found.interval else None,
        },
    )
