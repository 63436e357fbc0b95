"""Read of a measured batch what a measurement needs: a batch id in; its scores, or a sample of its rows, out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Model, Services, batch_rows
from selfheal_assets.stages.drift_frames import BATCH_ROWS, SAMPLE_SEED

if TYPE_CHECKING:
    import pandas as pd


def scores_of(services: Services, spec: ModelSpec, batch_id: str) -> "pd.DataFrame":
    """The batch's table of scores. The texts of a large one are Arrow's: as Python's they would be most of it."""
    rows = services.batches.rows(spec.name, "scores", batch_id)
    return rows.frame(arrow_texts=len(rows) > batch_rows.PART_ROWS)


def features_of(
    services: Services, spec: ModelSpec, batch_id: str, names: Sequence[str], chosen: "np.ndarray | None" = None
) -> "pd.DataFrame":
    """The batch's features, where `chosen` (n,) is true; of a large batch those that a drift test samples from them."""
    import pandas as pd

    rows = services.batches.rows(spec.name, "features", batch_id)
    positions = np.arange(len(rows)) if chosen is None else np.flatnonzero(chosen)
    if len(rows) <= batch_rows.PART_ROWS:
        return rows.frame(names).iloc[positions].reset_index(drop=True)
    if len(positions) > BATCH_ROWS:
        positions = pd.Series(positions).sample(BATCH_ROWS, random_state=SAMPLE_SEED).to_numpy()
    return rows.at(positions, names)


def scored_by(services: Services, spec: ModelSpec, batch_id: str, model: Model) -> "np.ndarray":
    """(n,): what a model says of the batch's rows."""
    names = services.features.names(spec)
    parts = services.batches.rows(spec.name, "features", batch_id).parts(names)
    return np.concatenate([model.score(part) for part in parts])
