"""Two-sample tests by Alibi Detect: frames in, one p-value a column out. Never passes a missing value on."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.drift_columns import CodedColumns, code_columns
from selfheal_assets.core.errors import DetectorError
from selfheal_assets.ports import TwoSampleTest

if TYPE_CHECKING:
    import pandas as pd

# alibi_detect imports transformers, which announces on its logger that no deep-learning framework is installed.
_CHATTY_LOGGERS = ("alibi_detect", "transformers")


class AlibiDriftDetector:
    """`DriftDetector` for `drift.detector: alibi`. Alibi Detect is under the Business Source License 1.1."""

    def compare(
        self, reference: "pd.DataFrame", batch: "pd.DataFrame", categorical: Sequence[str]
    ) -> dict[str, TwoSampleTest]:
        """`TabularDrift` over all columns, or `KSDrift` when there is exactly one and it is numeric.

        A column with a missing value, or without rows, is answered by NaN: Alibi Detect itself would call it "no
        drift". Raises DetectorError on unequal columns, and when Alibi Detect is not installed or fails.
        """
        columns = code_columns(reference, batch, categorical)
        answers: dict[int, tuple[float, float]] = {}
        if columns.answerable:
            answers = dict(zip(columns.answerable, _detect(columns), strict=True))
        return {
            name: TwoSampleTest(
                test="chi_squared" if position in columns.categorical else "kolmogorov_smirnov",
                statistic=answers.get(position, (math.nan, math.nan))[0],
                p_value=answers.get(position, (math.nan, math.nan))[1],
            )
            for position, name in enumerate(columns.names)
        }


def _detect(columns: CodedColumns) -> list[tuple[float, float]]:
    """(statistic, p-value) of each answerable column. The detector's own correction and threshold are not used."""
    kept = list(columns.answerable)
    # None: the categories are those that occur, so that no count is zero on both sides.
    categories = {place: None for place, position in enumerate(kept) if position in columns.categorical}
    reference, batch = columns.reference[:, kept], columns.batch[:, kept]
    with _quiet():
        tabular_drift, ks_drift = _detector_classes()
        try:
            if len(kept) == 1 and not categories:
                detector = ks_drift(reference)
            else:
                detector = tabular_drift(reference, categories_per_feature=categories)
            found = detector.predict(batch, drift_type="feature")["data"]
        except Exception as error:
            raise DetectorError(
                f"Alibi Detect must answer for complete columns of numbers; it raised {type(error).__name__}: {error}. "
                "Set drift.detector: scipy until it is mended."
            ) from error
    return [(float(s), float(p)) for s, p in zip(found["distance"], found["p_val"], strict=True)]


def _detector_classes() -> tuple[Any, Any]:
    try:
        from alibi_detect.cd.ks import KSDrift
        from alibi_detect.cd.tabular import TabularDrift
    except (ImportError, AttributeError) as error:
        raise DetectorError(
            f"drift.detector: alibi needs the package alibi-detect; importing it gave {type(error).__name__}: {error}. "
            "Install selfheal-assets[alibi] or set drift.detector: scipy."
        ) from error
    return TabularDrift, KSDrift


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings and announcements of the package and of what it imports out of the run's log."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.disabled = True
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled
