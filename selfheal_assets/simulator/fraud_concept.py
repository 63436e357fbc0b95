"""Say how likely each payment is fraud: drawn inputs in, probabilities out. Never draws anything."""

import numpy as np

from selfheal_assets.simulator.payment_draws import (
    AMOUNT_SPREAD,
    CATEGORIES,
    CHANNELS,
    Draw,
    Floats,
    Integers,
    Mask,
)

APP = CHANNELS.index("app")
MARKETPLACE_CATEGORIES = [CATEGORIES.index(name) for name in ("travel", "electronics", "gaming")]


def fraud_probability(draw: Draw, age_days: Integers, moved: Mask) -> Floats:
    """Probability of the label 1 for each payment; `moved` are the rows that follow the new rules. Shape (rows,)."""
    marketplace = (draw.channel == APP) & np.isin(draw.category, MARKETPLACE_CATEGORIES)
    log_odds = np.where(marketplace, _marketplace_risk(draw, age_days), _usual_risk(draw, age_days))
    log_odds = np.where(moved, _new_risk(draw, age_days), log_odds)
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), dtype=np.float64)


def _usual_risk(draw: Draw, age_days: Integers) -> Floats:
    """Log-odds of fraud outside the marketplace: dear, far, young, in a burst."""
    channel: Floats = np.array([0.7, 0.2, -0.8])[draw.channel]
    device: Floats = np.array([-0.3, 0.4, 0.3, 0.0])[draw.device]
    category: Floats = np.array([-0.7, -0.3, 0.4, 0.7, 0.6, 0.1, -0.6, 0.0])[draw.category]
    young: Floats = np.exp(-age_days / 250)
    numbers = _weighted(draw, excess=1.5, distance=1.1, burst=1.3)
    return -4.22 + numbers + 2.2 * young + channel + device + category


def _marketplace_risk(draw: Draw, age_days: Integers) -> Floats:
    """Log-odds of fraud in the app's marketplace: taken-over old accounts, small test charges, near home."""
    device: Floats = np.array([0.6, -0.6, 0.0, 0.0])[draw.device]
    established: Floats = 1 - np.exp(-age_days / 300)
    return -4.6 + _weighted(draw, excess=-1.8, distance=-1.5, burst=0.8) + 2.4 * established + device


def _new_risk(draw: Draw, age_days: Integers) -> Floats:
    """Log-odds of fraud after the concept change: small test charges and near home, still young and in a burst."""
    channel: Floats = np.array([-0.2, 0.6, -0.2])[draw.channel]
    category: Floats = np.array([0.9, 0.6, -0.6, -0.6, -0.4, 0.0, 0.7, 0.2])[draw.category]
    young: Floats = np.exp(-age_days / 250)
    return -4.2 + _weighted(draw, excess=-1.3, distance=-1.0, burst=1.3) + 2.6 * young + channel + category


def _weighted(draw: Draw, *, excess: float, distance: float, burst: float) -> Floats:
    """What amount, distance (each in units of its own spread) and velocity add to the log-odds."""
    return excess * draw.log_excess / AMOUNT_SPREAD + distance * draw.log_distance + burst * draw.burst
