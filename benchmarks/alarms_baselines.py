"""Raise the alarms that most teams begin with, on the same batches: rows in, alarms out. Never decides anything.

- KS: some feature has p < 0.05, two-sided and uncorrected: Kolmogorov-Smirnov for numbers, Pearson's chi-squared for
  categories, from the very p-values that selfheal corrects.
- Evidently: its default drift preset (`alarms_evidently_child.py` says what that is).
- ADWIN: River's with its default delta of 0.002, fed with the champion's errors (score above 1/2 against the label), a
  row at a time as labels come; an alarm is `drift_detected`, whichever way the mean moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alarms_evidently import Evidently
from alarms_world import CATEGORICAL, Drawn

from selfheal_assets.core.drift_feature import FeatureDrift

KS, EVIDENTLY, ADWIN = "KS p < 0.05 on any feature", "Evidently's default preset", "ADWIN on the error"
BASELINES = (KS, EVIDENTLY, ADWIN)
P_THRESHOLD = 0.05


def ks_alarm(features: Sequence[FeatureDrift]) -> bool:
    return any(one.p_value is not None and one.p_value < P_THRESHOLD for one in features)


def corrected_alarm(features: Sequence[FeatureDrift], p_threshold: float) -> bool:
    """What selfheal's corrected p-values alone would say, without effect size and persistence."""
    return any(one.adjusted_p is not None and one.adjusted_p < p_threshold for one in features)


class AdwinOnError:
    """The whole life of a stream; River's detector starts anew by itself after an alarm."""

    def __init__(self) -> None:
        from river import drift

        self._detector: Any = drift.ADWIN()

    def alarm(self, drawn: Drawn) -> bool:
        """Whether it alarmed at one of the batch's rows or more."""
        wrong = (drawn.score > 0.5) != (drawn.label == 1.0)
        alarmed = False
        for error in wrong.tolist():
            self._detector.update(float(error))
            alarmed = alarmed or bool(self._detector.drift_detected)
        return alarmed


@dataclass(frozen=True)
class EvidentlyOnFrames:
    """Evidently, or nothing where it is not installed."""

    child: Evidently | None

    def alarm(self, reference: Drawn, drawn: Drawn) -> bool | None:
        if self.child is None:
            return None
        return self.child.judge(reference.features, drawn.features, CATEGORICAL).dataset_drift
