"""Join rows with their features as of each event's own time: rows in, a frame out. Never publishes anything."""

from typing import TYPE_CHECKING

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services

if TYPE_CHECKING:
    import pandas as pd


def feature_frame(selfheal: Services, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Event id, timestamp and label of the rows, then their features as of each event's own time."""
    import pandas as pd

    data = spec.data
    identity = rows[[data.event_id, data.event_timestamp, data.label]].reset_index(drop=True)
    known = selfheal.features.historical(spec, rows.reset_index(drop=True))
    return pd.concat([identity, known], axis=1)
