"""Draw the inputs of card payments: a generator and shares in, columns as numbers out. Never draws a label."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

WINDOW = timedelta(hours=6)
CATEGORIES = ("grocery", "fuel", "travel", "electronics", "gaming", "fashion", "restaurants", "services")
CHANNELS = ("web", "app", "pos")
DEVICES = ("ios", "android", "desktop", "terminal")
COUNTRIES = ("DE", "FR", "NL", "PL", "ES", "IT")

BURST_SHARE, BURST_LENGTH, BURST_GAP_SECONDS = 0.06, 3, 600.0
REFUND_SHARE = 0.02
AMOUNT_SPREAD, DISTANCE_SPREAD = 0.7, 1.1
DEVICE_BY_CHANNEL = np.array([[0.2, 0.2, 0.6, 0.0], [0.45, 0.55, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Inputs:
    """How payments are spread, whatever their label."""

    channels: tuple[float, ...]
    """Shares of CHANNELS."""
    categories: tuple[tuple[float, ...], ...]
    """Shares of CATEGORIES, a row for each of CHANNELS."""
    distance_factor: float = 1.0
    young_factor: float = 1.0
    """How much more often an account younger than a year pays than it usually does."""


USUAL = Inputs(
    channels=(0.40, 0.30, 0.30),
    categories=(
        (0.06, 0.02, 0.20, 0.20, 0.16, 0.20, 0.06, 0.10),
        (0.28, 0.10, 0.01, 0.01, 0.01, 0.14, 0.25, 0.20),
        (0.35, 0.20, 0.03, 0.06, 0.01, 0.15, 0.15, 0.05),
    ),
)
# Holidays: established customers pay in shops, far from home.
HOLIDAYS = replace(USUAL, channels=(0.30, 0.25, 0.45), distance_factor=1.9, young_factor=0.22)
# The app opens a marketplace for travel, electronics and gaming, which it hardly sold before.
MARKETPLACE = Inputs(
    channels=(0.16, 0.72, 0.12),
    categories=(
        USUAL.categories[0],
        (0.04, 0.01, 0.30, 0.30, 0.28, 0.03, 0.02, 0.02),
        USUAL.categories[2],
    ),
    distance_factor=1.7,
)


@dataclass(frozen=True)
class Draw:
    """The columns of a batch as numbers; all of shape (rows,)."""

    slot: Integers
    burst: Mask
    channel: Integers
    device: Integers
    category: Integers
    merchant: Integers
    country: Integers
    log_excess: Floats
    """Natural logarithm of the amount over what is usual for the account and the category."""
    log_distance: Floats
    """Natural logarithm of the distance over the usual median, in units of its spread."""

    def take(self, source: Integers) -> "Draw":
        return Draw(*(getattr(self, column.name)[source] for column in fields(self)))


def pick(shares: Floats, uniform: Floats) -> Integers:
    """Indices with the probabilities in the last axis of `shares`: one row for all, or one for each of `uniform`."""
    cumulative: Floats = np.cumsum(shares, axis=-1)
    cumulative /= cumulative[..., -1:]
    if cumulative.ndim == 1:
        return np.searchsorted(cumulative, uniform, side="right").astype(np.int64)
    above: Integers = np.sum(uniform[:, None] >= cumulative, axis=1, dtype=np.int64)
    return above


def arrivals(rng: np.random.Generator, rows: int) -> tuple[Integers, Integers, Mask]:
    """Offsets (strictly rising, microseconds), the row whose account each row has, and whether it is in a burst."""
    window = WINDOW // timedelta(microseconds=1)
    burst = rng.random(rows) < BURST_SHARE
    # A burst follows a leading row: the account and the time come from it.
    groups = max(1, int(rows * BURST_SHARE / BURST_LENGTH))
    leader = np.where(burst, rng.integers(0, rows, groups)[rng.integers(0, groups, rows)], np.arange(rows))
    gap = np.where(burst, rng.exponential(BURST_GAP_SECONDS * 1e6, rows), 0.0).astype(np.int64)
    offsets = np.minimum(rng.integers(0, window - rows, rows)[leader] + gap, window - rows - 1)
    order = np.argsort(offsets, kind="stable")
    return offsets[order] + np.arange(rows), leader[order], burst[order]


def refund(rng: np.random.Generator, draw: Draw) -> tuple[Draw, Integers]:
    """Turn some rows into refunds of a part of an earlier payment; also its position, or -1 for a payment."""
    rows = draw.slot.size
    chosen = rng.random(rows) < REFUND_SHARE
    chosen[0] = False
    position = np.arange(rows)
    # The last payment at or before a random earlier row: a refund is never refunded itself.
    payment = np.maximum.accumulate(np.where(chosen, 0, position))
    original = np.where(chosen, payment[(rng.random(rows) * position).astype(np.int64)], -1)
    part = np.where(chosen, np.log(rng.uniform(0.3, 1.0, rows)), 0.0)
    draw = draw.take(np.where(chosen, original, position))
    return replace(draw, log_excess=draw.log_excess + part), original
