"""Damage batches by a fault's name: healthy rows in, damaged rows out, with the true cause. Never touches a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np

from selfheal_assets.core.errors import SpecError
from selfheal_assets.simulator.payments import Regime

if TYPE_CHECKING:
    import pandas as pd

Cause = Literal["none", "bad_data", "benign_drift", "harmful_drift", "concept_drift"]
Damage = Callable[["pd.DataFrame", np.random.Generator], "pd.DataFrame"]


class FileEffect(StrEnum):
    """What is wrong with the delivery, rather than with the rows."""

    TRUNCATED = "truncated"
    """The file's last bytes are missing."""
    REPEATED = "repeated"
    """The rows of an earlier batch again, under another name."""
    LATE = "late"
    """The event times are those of an older window."""


@dataclass(frozen=True)
class Fault:
    """One thing that can happen to a batch, with its known truth."""

    name: str
    cause: Cause
    """What a perfect diagnosis would say of the batch."""
    description: str
    apply: Damage | None = None
    """(rows, generator) -> damaged rows; the rows given are left as they are."""
    regime: Regime = Regime.HEALTHY
    file_effect: FileEffect | None = None


def _some(frame: "pd.DataFrame", rng: np.random.Generator, share: float) -> np.ndarray:
    """Mask of a share of the rows, at least one."""
    mask = np.zeros(len(frame), dtype=bool)
    mask[rng.choice(len(frame), size=max(1, round(share * len(frame))), replace=False)] = True
    return mask


def _bad_rows(frame: "pd.DataFrame", rng: np.random.Generator) -> "pd.DataFrame":
    bad = _some(frame, rng, rng.uniform(0.02, 0.03))
    without_amount = bad & (rng.random(len(frame)) < 0.5)
    return frame.assign(
        amount=frame["amount"].mask(without_amount),
        device=frame["device"].mask(bad & ~without_amount, None),
    )


def _null_burst(frame: "pd.DataFrame", rng: np.random.Generator) -> "pd.DataFrame":
    lost = np.zeros(len(frame), dtype=bool)
    length = max(1, round(0.4 * len(frame)))
    first = rng.integers(0, len(frame) - length + 1)
    lost[first : first + length] = True
    return frame.assign(distance_km=frame["distance_km"].mask(lost), device=frame["device"].mask(lost, None))


def _cents(frame: "pd.DataFrame", _rng: np.random.Generator) -> "pd.DataFrame":
    return frame.assign(amount=(frame["amount"] * 100).round(0))


def _renamed_column(frame: "pd.DataFrame", _rng: np.random.Generator) -> "pd.DataFrame":
    return frame.rename(columns={"amount": "amount_eur"})


def _extra_column(frame: "pd.DataFrame", rng: np.random.Generator) -> "pd.DataFrame":
    return frame.assign(loyalty_tier=rng.choice(["basic", "silver", "gold"], len(frame)))


def _missing_column(frame: "pd.DataFrame", _rng: np.random.Generator) -> "pd.DataFrame":
    return frame.drop(columns="distance_km")


def _new_category(frame: "pd.DataFrame", rng: np.random.Generator) -> "pd.DataFrame":
    return frame.assign(merchant_category=frame["merchant_category"].mask(_some(frame, rng, 0.1), "gambling"))


def _stale(frame: "pd.DataFrame", _rng: np.random.Generator) -> "pd.DataFrame":
    return frame.assign(event_timestamp=frame["event_timestamp"] - timedelta(days=3 * 365))


def _small(frame: "pd.DataFrame", _rng: np.random.Generator) -> "pd.DataFrame":
    return frame.head(10).reset_index(drop=True)


def _label_flip(frame: "pd.DataFrame", rng: np.random.Generator) -> "pd.DataFrame":
    return frame.assign(is_fraud=frame["is_fraud"] ^ _some(frame, rng, 0.3).astype(np.int64))


def _one_class(frame: "pd.DataFrame", _rng: np.random.Generator) -> "pd.DataFrame":
    return frame.assign(is_fraud=0)


_ALL = (
    Fault("healthy", "none", "Nothing is wrong."),
    Fault("bad_rows", "bad_data", "2 to 3 % of the rows lack the amount or the device.", _bad_rows),
    Fault("null_burst", "bad_data", "40 % of the rows, one after another, lack distance and device.", _null_burst),
    Fault("unit_change", "bad_data", "Amounts arrive in cents instead of euros.", _cents),
    Fault("renamed_column", "bad_data", "The column amount is called amount_eur.", _renamed_column),
    Fault("extra_column", "bad_data", "A column loyalty_tier that nobody declared.", _extra_column),
    Fault("missing_column", "bad_data", "The column distance_km is not there.", _missing_column),
    Fault("new_category", "bad_data", "10 % of the rows have an undeclared merchant category.", _new_category),
    Fault(
        "duplicated_batch",
        "bad_data",
        "The rows of the last undamaged batch again, under another file name.",
        file_effect=FileEffect.REPEATED,
    ),
    Fault("truncated_file", "bad_data", "The transfer broke off: Parquet bytes cut.", file_effect=FileEffect.TRUNCATED),
    Fault("stale_data", "bad_data", "The event times are three years old.", _stale),
    Fault("late_data", "none", "An older window arrives now. Not bad by itself.", file_effect=FileEffect.LATE),
    Fault("small_batch", "bad_data", "Ten rows: the feed delivered a fragment.", _small),
    Fault("benign_shift", "benign_drift", "Inputs move; the champion is as good there.", regime=Regime.BENIGN_SHIFT),
    Fault("harmful_shift", "harmful_drift", "Inputs move to where the champion errs.", regime=Regime.HARMFUL_SHIFT),
    Fault("concept_change", "concept_drift", "Fraud follows other rules at once.", regime=Regime.CONCEPT_CHANGE),
    Fault(
        "gradual_concept",
        "concept_drift",
        "From the world's `since` on, more of each batch follows other rules. Before it nothing has moved.",
        regime=Regime.GRADUAL_CONCEPT,
    ),
    Fault(
        "label_flip",
        "bad_data",
        "30 % of the labels are wrong. Inputs are sound, so that in one batch it looks like concept drift to whoever "
        "does not check labels; the next batch is sound again.",
        _label_flip,
    ),
    Fault("one_class", "bad_data", "Every label is 0: the outcomes were not joined.", _one_class),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}


def fault_named(name: str) -> Fault:
    """The registered fault; raises SpecError with all names when there is none."""
    if name not in FAULTS:
        raise SpecError(f"A fault must be one of {', '.join(FAULTS)}; received {name!r}. Choose one of them.")
    return FAULTS[name]
