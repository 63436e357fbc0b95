"""Measure configured rates: a test and a number of draws in, how often it raised out. Never adds chunks up.

Each draw has a reference, or a holdout, of its own: the promise of a test is about both samples. Where a claim is about
a boundary, the world is put exactly there, with the true metric of the champion and not one measured on a holdout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from alarms_home import declared, drift_detector
from alarms_life import WINDOW
from alarms_scenarios import HARMFUL_DROP, MOST_FADE
from alarms_world import (
    BATCH_ROWS,
    CATEGORICAL,
    COLUMNS,
    PRIOR,
    Regime,
    draw_scores,
    regime_of_drop,
    true_brier,
    true_metric,
)
from scipy.optimize import brentq

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.performance import assess_performance
from selfheal_assets.core.prior_shift import assess_prior
from selfheal_assets.core.sequential_harm import assess_risk
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.core.statistics.multiplicity import benjamini_hochberg
from selfheal_assets.core.statistics.risk_monitor import brier_losses

REFERENCE_ROWS = WINDOW * BATCH_ROWS
RISK_BATCHES = 20
"""A stream's length for the risk test."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One kind of draw."""

    draws: int
    chunk: int
    """Draws of one task."""
    measure: Callable[[ModelSpec, str, np.random.Generator], dict[str, bool]]
    """What one draw raised, by the name of the claim."""


def holdout_rows(spec: ModelSpec) -> int:
    """As many as the training stage keeps of two batches, the smallest window."""
    return round(spec.training.holdout_share * min(spec.training.windows) * BATCH_ROWS)


def measured(kind: str, chunk: int, draws: int, detector: str) -> dict[str, tuple[int, int]]:
    """How many of `draws` draws raised each claim: (raised, draws)."""
    spec, one = declared(CATEGORICAL, detector), CALIBRATIONS[kind]
    rng = np.random.default_rng([sorted(CALIBRATIONS).index(kind), chunk])
    found = [one.measure(spec, detector, rng) for _ in range(draws)]
    return {name: (sum(draw[name] for draw in found), draws) for name in found[0]}


def _corrected(spec: ModelSpec, detector: str, rng: np.random.Generator) -> dict[str, bool]:
    """Twenty independent continuous features, nothing moved: Benjamini-Hochberg is exact there."""
    names = [f"x{place:02d}" for place in range(len(COLUMNS))]
    before, after = (
        pd.DataFrame(rng.standard_normal((rows, len(names))), columns=names) for rows in (REFERENCE_ROWS, BATCH_ROWS)
    )
    answers = drift_detector(detector).compare(before, after, ())
    raw = np.array([answers[name].p_value for name in names])
    return {
        "uncorrected": bool((raw < spec.drift.p_threshold).any()),
        "corrected": bool((benjamini_hochberg(raw) < spec.drift.p_threshold).any()),
    }


def _performance(spec: ModelSpec, _: str, rng: np.random.Generator) -> dict[str, bool]:
    """A champion that has lost exactly what it may, one that is harmed, and one that has lost nothing."""
    holdout = draw_scores(Regime(), rng, holdout_rows(spec))
    proven = metric(spec.performance.metric, *holdout)
    at_limit, harmed = (draw_scores(_faded(drop), rng) for drop in (spec.performance.max_drop, HARMFUL_DROP))
    unchanged = draw_scores(Regime(), rng)

    def raised(rows: tuple[np.ndarray, np.ndarray], champion_metric: float) -> bool:
        return assess_performance(spec.performance, *rows, champion_metric).status is Status.RAISED

    return {
        "limit, true metric": raised(at_limit, true_metric(Regime())),
        "limit, holdout metric": raised(at_limit, proven),
        "harmful, true metric": raised(harmed, true_metric(Regime())),
        "harmful, holdout metric": raised(harmed, proven),
        "unchanged, holdout metric": raised(unchanged, proven),
    }


def _prior(spec: ModelSpec, _: str, rng: np.random.Generator) -> dict[str, bool]:
    """The share of label 1 is the same on both sides."""
    found = assess_prior(
        int(rng.binomial(REFERENCE_ROWS, PRIOR)),
        REFERENCE_ROWS,
        int(rng.binomial(BATCH_ROWS, PRIOR)),
        BATCH_ROWS,
        p_threshold=spec.drift.p_threshold,
        min_move=spec.drift.min_prior_move,
        min_rows=spec.drift.min_rows,
    )
    assert found.interval is not None
    low, high = found.interval
    return {"interval": low > 0.0 or high < 0.0, "raised": found.status is Status.RAISED}


def _risk(spec: ModelSpec, _: str, rng: np.random.Generator) -> dict[str, bool]:
    """Twenty batches of a champion whose risk is, from the first row on, the highest that is tolerated."""
    tolerance, alpha = spec.performance.tolerance, spec.performance.alpha
    source = brier_losses(*draw_scores(Regime(), rng, holdout_rows(spec)))
    losses = brier_losses(*draw_scores(_tolerated(tolerance), rng, RISK_BATCHES * BATCH_ROWS))
    return {"risk": assess_risk(losses, source, tolerance=tolerance, alpha=alpha).alarm}


@lru_cache(maxsize=4)
def _faded(drop: float) -> Regime:
    return regime_of_drop(lambda fade: Regime(fade=fade), drop, MOST_FADE)


@lru_cache(maxsize=4)
def _tolerated(tolerance: float) -> Regime:
    """The fading concept in which the mean Brier loss is higher by just so much."""
    limit = true_brier(Regime()) + tolerance
    return Regime(fade=float(brentq(lambda fade: true_brier(Regime(fade=fade)) - limit, 0.0, MOST_FADE, xtol=1e-4)))


CALIBRATIONS = {
    "corrected": Calibration(draws=4_000, chunk=100, measure=_corrected),
    "performance": Calibration(draws=20_000, chunk=1_000, measure=_performance),
    "prior": Calibration(draws=40_000, chunk=10_000, measure=_prior),
    "risk": Calibration(draws=600, chunk=20, measure=_risk),
}
