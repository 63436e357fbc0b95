"""The frame that a candidate learns from and is judged on: built once a decision, then read. Never tunes or fits."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import LabelledRows, Services
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.feature_frame import feature_frame
from selfheal_assets.stages.identity import ROW_CAP_TAG

if TYPE_CHECKING:
    import pandas as pd

BATCH, SPLIT = "selfheal_batch_id", "selfheal_split"
TRAIN, HOLDOUT = "train", "holdout"


def row_cap_of(tags: Mapping[str, str]) -> int | None:
    """How many rows a run may take by its tag `selfheal/row_cap`; None: all. Raises TrainingError for another word."""
    cap = tags.get(ROW_CAP_TAG)
    if cap is not None and not (cap.isdecimal() and int(cap)):
        raise TrainingError(f"The tag {ROW_CAP_TAG} must be a number of rows; received {cap!r}. Launch without it.")
    return int(cap) if cap else None


def thinned(rows: "pd.DataFrame", cap: int | None) -> "pd.DataFrame":
    """At most `cap` rows, evenly spaced over their order: every batch, and train and holdout, keep their shares."""
    if cap is None or len(rows) <= cap:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, cap).round().astype(int)].reset_index(drop=True)


def build_frame(
    services: Services, spec: ModelSpec, batch_ids: Sequence[str], row_cap: int | None = None
) -> "pd.DataFrame":
    """Clean rows, labelled by now, of the batches with their point-in-time features, oldest first, split by time.

    The holdout is the most recent `holdout_share` of the smallest window's rows; event ids are unique over both parts.
    With a `row_cap` the rows are thinned before their features are looked up, which is what takes the memory. Raises
    TrainingError when fewer than `training.min_rows` labelled rows remain to learn from.
    """
    import pandas as pd

    read = {b: services.batches.read(spec.name, "clean", b) for b in batch_ids}
    clean = [labels_of(services, spec, b, rows).assign(**{BATCH: b}) for b, rows in read.items()]
    rows = pd.concat(clean, ignore_index=True) if clean else pd.DataFrame()
    if not rows.empty:
        rows = rows[rows[spec.data.label].notna()]
        rows = rows.sort_values([spec.data.event_timestamp, spec.data.event_id], kind="stable")
        rows = rows.drop_duplicates(spec.data.event_id, keep="last").reset_index(drop=True)
        rows = thinned(rows, row_cap)
    smallest = set(batch_ids[-min(spec.training.windows) :])
    held_out = round(spec.training.holdout_share * rows[BATCH].isin(smallest).sum()) if len(rows) else 0
    if len(rows) - held_out < spec.training.min_rows:
        raise TrainingError(
            f"A training set must have at least {spec.training.min_rows} labelled rows beside the holdout; received "
            f"{len(rows) - held_out} from {len(batch_ids)} batches. Wait for more batches, or lower training.min_rows."
        )
    frame = feature_frame(services, spec, rows)
    frame[BATCH] = rows[BATCH].to_numpy()
    frame[SPLIT] = [TRAIN] * (len(rows) - held_out) + [HOLDOUT] * held_out
    return frame


def labelled(services: Services, spec: ModelSpec, frame: "pd.DataFrame", split: str) -> LabelledRows:
    """One part of the frame in the form that tuner, trainer and gate take."""
    part = frame[frame[SPLIT] == split]
    return LabelledRows(
        features=part[services.features.names(spec)].reset_index(drop=True),
        label=part[spec.data.label].to_numpy(dtype=float),
        event_id=part[spec.data.event_id].to_numpy(),
        batch_id=part[BATCH].to_numpy(),
        event_time=part[spec.data.event_timestamp].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]"),
    )


def data_hash(frame: "pd.DataFrame") -> str:
    """SHA-256 over every value of the frame, in order."""
    import pandas as pd

    return hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
