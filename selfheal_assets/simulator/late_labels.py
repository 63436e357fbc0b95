"""Take the labels out of simulated batches and let them land later, in files of their own. Changes nothing else."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import SpecError
from selfheal_assets.durable import replaced
from selfheal_assets.simulator.payment_draws import WINDOW

if TYPE_CHECKING:
    import pandas as pd

EVENT_ID, EVENT_TIME, LABEL = "payment_id", "event_timestamp", "is_fraud"


def without_labels(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same rows, none of which has a label yet."""
    return frame.assign(**{LABEL: float("nan")})


def labels_alone(frame: "pd.DataFrame", batches_late: int) -> "pd.DataFrame":
    """What the label file says of the rows: event id, label, and the time at which the outcome was established."""
    times = frame[EVENT_TIME] + batches_late * WINDOW
    found = frame[[EVENT_ID, LABEL]].assign(label_timestamp=times + timedelta(hours=1))
    return found.drop_duplicates(EVENT_ID, ignore_index=True)


class LateLabels:
    """The label files of a landing folder: each is held back under a dot-name until its time has come.

    Files that an earlier simulation left held back come in place with the batches of the next.
    """

    def __init__(self, folder: Path, batches_late: int) -> None:
        if batches_late < 1:
            raise SpecError(f"Labels must come at least 1 batch late; received {batches_late}. Raise it, or give none.")
        self.folder = folder / "labels"
        self.batches_late = batches_late

    def hold(self, frame: "pd.DataFrame", index: int) -> "pd.DataFrame":
        """Keep the labels of batch `index` back; the batch without them."""
        with replaced(self.folder / f".labels-{index:04d}.parquet") as draft:
            labels_alone(frame, self.batches_late).to_parquet(draft, index=False)
        return without_labels(frame)

    def land(self, index: int) -> Sequence[Path]:
        """Put those in place that are due when batch `index` has landed."""
        placed = []
        for held in sorted(self.folder.glob(".labels-*.parquet")):
            if int(held.stem.rsplit("-", 1)[1]) <= index - self.batches_late:
                target = held.with_name(held.name.removeprefix("."))
                os.replace(held, target)
                placed.append(target)
        return placed
