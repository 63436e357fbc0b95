"""Turn scores into probabilities: labelled scores to a monotone map. Never answers for scores it has not seen alike.

Isotonic regression (Zadrozny & Elkan 2002, KDD): the non-decreasing step values that are closest to the labels in
squares, by pooling adjacent violators; linear between the steps, constant beyond the ends.
Example: labels 0, 1, 0, 1 of the scores 0.1, 0.2, 0.3, 0.4 give 0 at 0.1, 1/2 from 0.2 to 0.3, and 1 at 0.4.
It misleads at the ends, where a few rows of one class make a probability of exactly 0 or 1, and outside the support,
where nothing is known; and the rows it was fitted on look calibrated: judge it by `cross_validated_calibration_error`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.metrics import (
    FloatArray,
    as_floats,
    class_counts,
    expected_calibration_error,
    judgeable_rows,
)


@dataclass(frozen=True, kw_only=True)
class IsotonicCalibration:
    """A fitted map: `probability[i]` belongs to `score[i]`, both ascending."""

    score: tuple[float, ...]
    probability: tuple[float, ...]

    def __post_init__(self) -> None:
        score, probability = as_floats("score", self.score), as_floats("probability", self.probability)
        valid = len(score) == len(probability) > 0 and bool(np.isfinite(score).all() and (np.diff(score) > 0.0).all())
        if not valid or not ((probability >= 0.0) & (probability <= 1.0)).all() or (np.diff(probability) < 0.0).any():
            raise SelfhealError(
                "A calibration needs knots with ascending finite scores and non-decreasing probabilities in [0, 1]; "
                f"received scores {list(self.score[:5])} and probabilities {list(self.probability[:5])}. Fit it again."
            )

    @property
    def support(self) -> tuple[float, float]:
        """The lowest and the highest score that it was fitted on."""
        return self.score[0], self.score[-1]

    def apply(self, score: npt.ArrayLike) -> FloatArray:
        """Probabilities of label 1 (n,) of raw scores (n,); nan for nan. Raises SelfhealError for what is no number."""
        return np.asarray(np.interp(as_floats("score", score), self.score, self.probability))

    def share_outside(self, score: npt.ArrayLike) -> float:
        """Share of the scores (n,) beyond the support or missing, 0 to 1; nan without scores."""
        values = as_floats("score", score)
        low, high = self.support
        return float((~((values >= low) & (values <= high))).mean()) if len(values) else float("nan")

    def to_dict(self) -> dict[str, list[float]]:
        """JSON's form."""
        return {"score": list(self.score), "probability": list(self.probability)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "IsotonicCalibration":
        """Read back what `to_dict` wrote. Raises SelfhealError for anything else."""
        if not {"score", "probability"} <= stored.keys():
            raise SelfhealError(
                f"A stored calibration has score and probability; received {sorted(stored)}. Fit it again."
            )
        knots = {name: as_floats(name, stored[name]).tolist() for name in ("score", "probability")}
        return cls(score=tuple(knots["score"]), probability=tuple(knots["probability"]))


def fit_calibration(label: npt.ArrayLike, score: npt.ArrayLike) -> IsotonicCalibration | None:
    """Fit `label` (n,) in {0, 1} on `score` (n,), any finite numbers; equal scores are one.

    None when the rows are none, of one class, or hold another label or a score that is not finite.
    Raises SelfhealError when the arrays are not numeric or not of one length.
    """
    rows = judgeable_rows(label, score)
    return None if rows is None else _fit(*rows)


def cross_validated_calibration_error(
    label: npt.ArrayLike, score: npt.ArrayLike, *, folds: int = 5, seed: int = 0, bins: int = 10
) -> float:
    """Expected calibration error of every row calibrated by a fit on the other folds, which are drawn in each class.

    nan: see `fit_calibration`, and with fewer rows of a class than folds. On a few hundred rows read it beside the
    noise of `expected_calibration_error`. Raises SelfhealError for fewer than two folds.
    """
    if folds < 2:
        raise SelfhealError(f"folds must be at least 2; received {folds}. Use for example 5.")
    rows = judgeable_rows(label, score)
    if rows is None or min((rows[0] == 0.0).sum(), (rows[0] == 1.0).sum()) < folds:
        return float("nan")
    truth, scores = rows
    rng = np.random.default_rng(seed)
    fold, calibrated = np.empty(len(truth), dtype=np.intp), np.empty(len(truth))
    for value in (0.0, 1.0):
        members = rng.permutation(np.flatnonzero(truth == value))
        fold[members] = np.arange(len(members)) % folds
    for number in range(folds):
        held_out = fold == number
        calibrated[held_out] = _fit(truth[~held_out], scores[~held_out]).apply(scores[held_out])
    return expected_calibration_error(truth, calibrated, bins)


def _fit(label: FloatArray, score: FloatArray) -> IsotonicCalibration:
    # Here and not above: every code location would pay for the import.
    from scipy.optimize import isotonic_regression

    ones, zeros = class_counts(label, score)
    fitted = np.clip(isotonic_regression(ones / (ones + zeros), weights=ones + zeros).x, 0.0, 1.0)
    # The inner scores of a step lie on its line: its two ends are knots enough.
    step_starts = np.append(True, fitted[1:] != fitted[:-1])
    knots = step_starts | np.append(step_starts[1:], True)
    return IsotonicCalibration(score=tuple(np.unique(score)[knots].tolist()), probability=tuple(fitted[knots].tolist()))
