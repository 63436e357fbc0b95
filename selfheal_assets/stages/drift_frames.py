"""Compare a batch's features or scores with the reference: frames in, a DriftAssessment out. Never reads a store."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.drift import DriftAssessment, assess_drift
from selfheal_assets.core.drift_column import ComparedColumn
from selfheal_assets.core.errors import DetectorError
from selfheal_assets.core.model_spec import DriftSpec, ModelSpec
from selfheal_assets.ports import DriftDetector, TwoSampleTest
from selfheal_assets.stages.champion import SCORE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BATCH_ROWS = 20_000
"""A sample of this size finds a shift of 0.05 standard deviations; more rows only cost time."""
SAMPLE_SEED = 20_000


def compare_frames(
    spec: ModelSpec,
    detector: DriftDetector,
    reference: "pd.DataFrame",
    batch: "pd.DataFrame",
    importance: Mapping[str, float],
) -> DriftAssessment:
    """Judge every column of `reference`; further columns of the batch are not looked at.

    At most `drift.reference_rows` and 20,000 rows are sampled, with a fixed seed. A column that the batch lacks is
    wholly missing. `importance` is the share of the champion's gain; a feature that it does not name counts.
    Raises DetectorError when a column is named twice, or the detector cannot run at all.
    """
    for side, frame in (("reference", reference), ("batch", batch)):
        if not frame.columns.is_unique:
            repeated = frame.columns[frame.columns.duplicated()].tolist()
            raise DetectorError(
                f"the {side}'s columns must have a name each; received {repeated} more than once. Drop the copies."
            )
    categorical = [str(name) for name in reference.columns if name in spec.features.categorical]
    return _compare(spec.drift, detector, reference, batch, importance, categorical)


def compare_scores(
    spec: ModelSpec, detector: DriftDetector, reference: "np.ndarray", batch: "np.ndarray"
) -> DriftAssessment:
    """Judge the champion's scores (n,) and (m,) by the same rules, as the one feature `score`."""
    import pandas as pd

    frames = pd.DataFrame({SCORE: reference}), pd.DataFrame({SCORE: batch})
    return _compare(spec.drift, detector, *frames, {}, [])


def _compare(
    spec: DriftSpec,
    detector: DriftDetector,
    reference: "pd.DataFrame",
    batch: "pd.DataFrame",
    importance: Mapping[str, float],
    categorical: Sequence[str],
) -> DriftAssessment:
    before, after = _sample(reference, spec.reference_rows), _sample(batch, BATCH_ROWS)
    columns = [
        ComparedColumn(
            feature=str(name),
            categorical=name in categorical,
            reference=column_values(before, name, name in categorical),
            batch=column_values(after, name, name in categorical),
            importance=importance.get(str(name)),
        )
        for name in reference.columns
    ]
    testable = [column for column in columns if column.enough(spec.min_rows)]
    return assess_drift(spec, columns, _answers(detector, testable))


def _answers(detector: DriftDetector, columns: Sequence[ComparedColumn]) -> dict[str, TwoSampleTest]:
    """One call for the columns that are whole, and one for each column with holes, on its own complete values.

    Dropping every row with a hole anywhere would test the whole columns on a biased, smaller sample.
    """
    whole: list[ComparedColumn] = []
    answers: dict[str, TwoSampleTest] = {}
    for column in columns:
        if column.missing_reference or column.missing_batch:
            answers.update(_ask(detector, [column]))
        else:
            whole.append(column)
    if whole:
        answers.update(_ask(detector, whole))
    return answers


def _ask(detector: DriftDetector, group: Sequence[ComparedColumn]) -> dict[str, TwoSampleTest]:
    import pandas as pd

    return detector.compare(
        pd.DataFrame({column.feature: column.complete_reference for column in group}),
        pd.DataFrame({column.feature: column.complete_batch for column in group}),
        [column.feature for column in group if column.categorical],
    )


def _sample(frame: "pd.DataFrame", rows: int) -> "pd.DataFrame":
    return frame if len(frame) <= rows else frame.sample(rows, random_state=SAMPLE_SEED)


def column_values(frame: "pd.DataFrame", name: str, categorical: bool) -> "np.ndarray":
    """The column as `ComparedColumn` takes it; a column that is not there, and what is not a number, is missing."""
    import numpy as np
    import pandas as pd

    if name not in frame.columns:
        return np.full(len(frame), None if categorical else np.nan, dtype=object if categorical else np.float64)
    column = frame[name]
    if categorical:
        pairs = zip(column.astype(object), column.isna(), strict=True)
        return np.array([None if gone else _text(value) for value, gone in pairs], dtype=object)
    if not pd.api.types.is_numeric_dtype(column):
        column = _numbers(column.astype(object))
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _numbers(column: "pd.Series") -> "pd.Series":
    import pandas as pd

    try:
        return pd.to_numeric(column, errors="coerce").astype(float)
    except OverflowError:  # a whole number beyond the floats: as text it is no number
        return pd.to_numeric(column.astype(str), errors="coerce").astype(float)


def _text(value: Any) -> str:
    """A category's name; 3.0 is '3', as a column of whole numbers becomes one of floats by a single missing value."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
