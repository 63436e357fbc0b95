"""Give rows the labels that count: rows with their own labels in, the same rows out. Never changes a file."""

from typing import TYPE_CHECKING

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import REFUSED

if TYPE_CHECKING:
    import pandas as pd


def labels_of(services: Services, spec: ModelSpec, batch_id: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of the batch with the label column as float; NaN in every row while its labels are refused.

    `frame` has the event id and the label column; any part of the batch's rows, in any order.
    """
    last = services.ledger.newest(spec.name, RecordKind.LABELS, subject=batch_id)
    if last and last[0].status == REFUSED:
        return frame.assign(**{spec.data.label: float("nan")})
    return labels_as_told(services, spec, batch_id, frame)


def labels_as_told(services: Services, spec: ModelSpec, batch_id: str, frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same, refused or not: what came in label files, else what the batch brought."""
    import pandas as pd

    brought = pd.to_numeric(frame[spec.data.label], errors="coerce").astype("float64")
    came = services.labels.current(spec.name, batch_id, frame[spec.data.event_id])
    return frame.assign(**{spec.data.label: brought if came is None else came.fillna(brought)})
