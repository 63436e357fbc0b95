"""Draw the worlds of the alarm benchmark: a regime and a seed in; features, labels and scores out. Never judges them.

Twenty features are functions of correlated normal values ("latent" below): fourteen numbers, among them skewed,
heavy-tailed, discrete and rounded ones, and six categories; two have holes. The label's logit is linear in the latent
values of nine features, but that of the feature `bend` turns down beyond `KNEE`, where few rows of the first world are.
The champion knows the logit of the first world except for that turn: where it has always seen rows it is calibrated,
and a shift of `bend` towards the knee harms it although no meaning has changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, ndtr
from scipy.stats import t as student

from selfheal_assets.core.statistics.metrics import roc_auc_of_counts

Floats = npt.NDArray[np.float64]

BATCH_ROWS = 1_000
KNEE, TURN = 1.6, 3.5
"""Where the logit of `bend` turns down, in standard deviations, and by how much steeper it falls than it rose."""
PRIOR = 0.25
EXACT_ROWS = 100_000
"""Latent rows by which true metrics are computed; their labels are averaged out, not drawn."""


@dataclass(frozen=True)
class Column:
    """One feature, as a function of a latent standard normal value."""

    name: str
    of_latent: Callable[[Floats], Any]
    weight: float = 0.0
    """Of its latent value in the label's logit."""
    block: int | None = None
    """Features of one block are correlated by 0.5 (latent)."""
    missing: float = 0.0
    """Share of holes, at random."""
    categorical: bool = False


def _levels(count: int) -> Callable[[Floats], Any]:
    """Categories by Zipf's law: the j-th has a share proportional to 1 / j."""
    shares = 1.0 / np.arange(1.0, count + 1.0)
    ends = np.cumsum(shares / shares.sum())[:-1]
    names = np.array([f"level_{number:02d}" for number in range(count)], dtype=object)
    return lambda latent: names[np.searchsorted(ends, ndtr(latent))]


COLUMNS = (
    Column("normal_a", lambda z: 10.0 + 2.0 * z, weight=0.9, block=0),
    Column("normal_b", lambda z: 3.0 * z, block=0),
    Column("lognormal_a", lambda z: np.exp(3.0 + z), weight=0.8, block=0),
    Column("lognormal_b", lambda z: np.exp(1.5 * z), block=1),
    Column("exponential", lambda z: -np.log(ndtr(-z)), weight=0.7, block=1),
    Column("pareto", lambda z: ndtr(-z) ** (-1.0 / 1.5), block=1),
    Column("student_t2", lambda z: student.ppf(ndtr(z), 2.0), weight=0.6),
    Column("student_t4", lambda z: student.ppf(ndtr(z), 4.0)),
    Column("uniform", ndtr, weight=-0.6),
    Column("two_peaks", lambda z: z + 3.0 * np.sign(z)),
    Column("counts", lambda z: np.floor(4.0 * -np.log(ndtr(-z)))),
    Column("zero_inflated", lambda z: np.maximum(z - 0.3, 0.0) ** 2, weight=0.5),
    Column("rounded", lambda z: np.round(2.0 * z) / 2.0, missing=0.04),
    Column("bend", lambda z: 50.0 + 15.0 * z, weight=0.9),
    Column("two_levels", _levels(2), categorical=True),
    Column("three_levels", _levels(3), categorical=True, block=2),
    Column("five_levels", _levels(5), weight=0.5, categorical=True, block=2),
    Column("eight_levels", _levels(8), categorical=True),
    Column("twelve_levels", _levels(12), categorical=True, missing=0.02),
    Column("thirty_levels", _levels(30), weight=0.3, categorical=True),
)
NAMES = tuple(column.name for column in COLUMNS)
CATEGORICAL = tuple(column.name for column in COLUMNS if column.categorical)
FADING = ("normal_a", "lognormal_a", "exponential", "student_t2")
"""The features whose meaning a change of the concept takes away."""
_WEIGHTS = np.array([column.weight for column in COLUMNS])
_BEND = NAMES.index("bend")


@dataclass(frozen=True)
class Regime:
    """How the world is while a batch is drawn; the default is the world that the champion was trained in."""

    moved: Mapping[str, float] = field(default_factory=dict)
    """How far a feature's latent mean has moved, in its standard deviations."""
    fade: float = 0.0
    """Share of the effect that the `FADING` features have lost; above 1 it is reversed."""

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.moved.items())), self.fade))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The rows of one batch, all (n,)."""

    features: pd.DataFrame
    label: Floats
    score: Floats


def draw(regime: Regime, rng: np.random.Generator, rows: int = BATCH_ROWS) -> Drawn:
    latent = _latent(regime, rng, rows)
    label, score = _outcome(latent, regime, rng)
    features = {
        column.name: _holed(column, column.of_latent(latent[:, place]), rng) for place, column in enumerate(COLUMNS)
    }
    return Drawn(features=pd.DataFrame(features), label=label, score=score)


def draw_scores(regime: Regime, rng: np.random.Generator, rows: int = BATCH_ROWS) -> tuple[Floats, Floats]:
    """Labels and scores (n,) alone: nothing is made of the features, which takes most of the time."""
    return _outcome(_latent(regime, rng, rows), regime, rng)


def champion_score(latent: Floats) -> Floats:
    """The champion's probabilities of label 1 (n,), in every world."""
    return np.asarray(expit(latent @ _WEIGHTS + _intercept(0.0)))


@lru_cache(maxsize=256)
def true_metric(regime: Regime) -> float:
    """The champion's AUC in this world, labels averaged out."""
    latent = _exact_latent(regime)
    chance = expit(_logit(latent, regime) + _intercept(regime.fade))
    order = np.argsort(champion_score(latent))
    return float(roc_auc_of_counts(chance[order], 1.0 - chance[order]))


@lru_cache(maxsize=256)
def true_brier(regime: Regime) -> float:
    """The champion's mean Brier loss in this world, labels averaged out."""
    latent = _exact_latent(regime)
    chance, score = expit(_logit(latent, regime) + _intercept(regime.fade)), champion_score(latent)
    return float((chance * (1.0 - score) ** 2 + (1.0 - chance) * score**2).mean())


def true_drop(regime: Regime) -> float:
    """How much AUC the champion loses by it."""
    return true_metric(Regime()) - true_metric(regime)


def regime_of_drop(change: Callable[[float], Regime], drop: float, most: float) -> Regime:
    """The regime `change(size)`, 0 <= size <= `most`, in which the champion loses so much AUC."""
    return change(float(brentq(lambda size: true_drop(change(size)) - drop, 0.0, most, xtol=1e-3)))


def _outcome(latent: Floats, regime: Regime, rng: np.random.Generator) -> tuple[Floats, Floats]:
    chance = expit(_logit(latent, regime) + _intercept(regime.fade))
    return (rng.random(len(latent)) < chance).astype(np.float64), champion_score(latent)


def _latent(regime: Regime, rng: np.random.Generator, rows: int) -> Floats:
    latent = rng.standard_normal((rows, len(COLUMNS)))
    common = rng.standard_normal((rows, 1 + max(column.block or 0 for column in COLUMNS)))
    for place, column in enumerate(COLUMNS):
        if column.block is not None:
            latent[:, place] = np.sqrt(0.5) * (latent[:, place] + common[:, column.block])
        latent[:, place] += regime.moved.get(column.name, 0.0)
    return latent


def _exact_latent(regime: Regime) -> Floats:
    return _still_latent() + np.array([regime.moved.get(name, 0.0) for name in NAMES])


@lru_cache(maxsize=1)
def _still_latent() -> Floats:
    return _latent(Regime(), np.random.default_rng(EXACT_ROWS), EXACT_ROWS)


def _logit(latent: Floats, regime: Regime) -> Floats:
    weights = np.where(np.isin(NAMES, FADING), (1.0 - regime.fade) * _WEIGHTS, _WEIGHTS)
    return np.asarray(latent @ weights - TURN * np.maximum(latent[:, _BEND] - KNEE, 0.0))


@lru_cache(maxsize=256)
def _intercept(fade: float) -> float:
    """A change of the concept leaves the share of label 1 as it was: it is to be seen in the meaning alone."""
    logit = _logit(_exact_latent(Regime()), Regime(fade=fade))
    return float(brentq(lambda intercept: expit(logit + intercept).mean() - PRIOR, -10.0, 10.0))


def _holed(column: Column, values: Any, rng: np.random.Generator) -> Any:
    if not column.missing:
        return values
    holes = rng.random(len(values)) < column.missing
    return np.where(holes, None if column.categorical else np.nan, values)


def normal_frame(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """As many features as the world has, all independent and continuous: the case for which the tests are exact."""
    return pd.DataFrame({f"x{place:02d}": rng.standard_normal(rows) for place in range(len(COLUMNS))})
