"""Find where a metric fell most: levels of the declared slices, reference against batch. Never judges the fall."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.metrics import higher_is_better, metric


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Labelled, scored rows (n,) and their slice columns (n,)."""

    label: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    slices: Mapping[str, npt.NDArray[np.object_]]


@dataclass(frozen=True, kw_only=True)
class SliceDrop:
    """One level of one slice."""

    slice: str
    """`column=level`."""
    before: float
    value: float
    drop: float
    """How much worse than in the reference, in the metric's units; positive is worse."""
    rows: int


def slice_drops(
    name: MetricName, reference: Scored, batch: Scored, *, min_rows: int, most: int = 5
) -> tuple[SliceDrop, ...]:
    """The levels whose metric fell, the furthest first, at most `most`.

    A level with fewer than `min_rows` labelled rows on a side, or whose metric is not defined there, is left out.
    """
    found = []
    for column, levels in batch.slices.items():
        for level in sorted({value for value in levels if value is not None}, key=str):
            values = [_metric(name, side, column, level, min_rows) for side in (reference, batch)]
            if not np.isnan(values).any():
                before, value = values
                drop = before - value if higher_is_better(name) else value - before
                rows = int((levels == level).sum())
                found.append(SliceDrop(slice=f"{column}={level}", before=before, value=value, drop=drop, rows=rows))
    fallen = [one for one in found if one.drop > 0.0]
    return tuple(sorted(fallen, key=lambda one: (-one.drop, one.slice))[:most])


def _metric(name: MetricName, side: Scored, column: str, level: object, min_rows: int) -> float:
    rows = (side.slices[column] == level) & np.isfinite(side.label) & np.isfinite(side.score)
    return metric(name, side.label[rows], side.score[rows]) if rows.sum() >= max(min_rows, 1) else float("nan")
