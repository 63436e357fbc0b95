"""Generate card payments with a fraud label: seed, batch index and regime in, a table out. Never reads a clock."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SpecError
from selfheal_assets.simulator.fraud_concept import fraud_probability
from selfheal_assets.simulator.payment_draws import (
    AMOUNT_SPREAD,
    CATEGORIES,
    CHANNELS,
    COUNTRIES,
    DEVICE_BY_CHANNEL,
    DEVICES,
    DISTANCE_SPREAD,
    HOLIDAYS,
    MARKETPLACE,
    USUAL,
    WINDOW,
    Draw,
    Floats,
    Inputs,
    Integers,
    Objects,
    arrivals,
    pick,
    refund,
)

if TYPE_CHECKING:
    import pandas as pd

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# Ages are counted from here, long before any batch, so that no account has a negative age or generation.
FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
AMOUNT_RANGE = (0.5, 5_000.0)
AMOUNT_BY_CATEGORY = np.array([0.8, 1.0, 1.6, 1.5, 0.7, 1.1, 0.8, 1.0]) * 41.0
DISTANCE_MEDIAN_KM, MAX_DISTANCE_KM = 10.0, 2_000.0
COUNTRY_SHARES = np.array([0.3, 0.2, 0.15, 0.15, 0.1, 0.1])
TYPICAL_SPREAD = 0.5
MAX_ROWS = 10_000_000
NOTHING = np.array(None, dtype=object)


class Regime(StrEnum):
    """The state of the world that a batch is drawn from."""

    HEALTHY = "healthy"
    BENIGN_SHIFT = "benign_shift"
    """Inputs move to where the concept is the same and a champion knows it."""
    HARMFUL_SHIFT = "harmful_shift"
    """Inputs move to where fraud follows other rules, which a champion has hardly seen. P(y|x) does not move."""
    CONCEPT_CHANGE = "concept_change"
    """Inputs stay; P(y|x) moves at once."""
    GRADUAL_CONCEPT = "gradual_concept"
    """Inputs stay; each batch after `since` has a larger share of rows under the new P(y|x)."""


_INPUTS: Mapping[Regime, Inputs] = {Regime.BENIGN_SHIFT: HOLIDAYS, Regime.HARMFUL_SHIFT: MARKETPLACE}


def window_start(index: int, epoch: datetime = EPOCH) -> datetime:
    """When the event times of batch `index` begin; they end six hours later."""
    return epoch + index * WINDOW


class PaymentsWorld:
    """A seeded population of accounts and merchants; each batch depends on nothing but its own arguments.

    Accounts close and are replaced by new ones at a steady rate, so that their ages do not drift by themselves.
    `since` is the batch index with which GRADUAL_CONCEPT begins; it is complete `ramp_batches` later.
    """

    def __init__(
        self, seed: int = 7, accounts: int = 500, merchants: int = 200, *, since: int = 0, ramp_batches: int = 8
    ) -> None:
        rules = {"seed": (seed, 0), "accounts": (accounts, 1), "merchants": (merchants, len(CATEGORIES))}
        for name, (value, least) in (rules | {"since": (since, 0), "ramp_batches": (ramp_batches, 1)}).items():
            if value < least:
                raise SpecError(f"{name} of a payments world must be at least {least}; received {value}. Raise it.")
        self.seed, self.since, self.ramp_batches = seed, since, ramp_batches
        rng = np.random.default_rng(seed)
        # Lifetimes log-uniform from 240 to 3,600 days and phases on a lattice: an even spread with few accounts.
        self._lifetime = np.exp(np.linspace(np.log(240), np.log(3_600), accounts)).astype(np.int64)
        self._phase = (np.arange(accounts) * 0.6180339887 % 1 * self._lifetime).astype(np.int64)
        self._activity = rng.lognormal(0.0, 0.4, accounts)
        self._typical = rng.normal(0.0, TYPICAL_SPREAD, accounts)
        self._home = pick(COUNTRY_SHARES, rng.random(accounts))
        self._merchants = (merchants - np.arange(len(CATEGORIES)) - 1) // len(CATEGORIES) + 1

    def batch(self, index: int, rows: int, regime: Regime, start: datetime | None = None) -> "pd.DataFrame":
        """Payments with event times in [start, start + 6 h), sorted by time; amounts in EUR.

        `start` is the beginning of the batch's own window, `window_start(index)` unless given.
        """
        start = window_start(index) if start is None else start
        _check_arguments(index, rows, start)
        rng = np.random.default_rng([self.seed, index, rows])
        days = (start - FIRST_DAY) // timedelta(days=1) + self._phase
        generation, age_days = np.divmod(days, self._lifetime)
        offsets, draw = self._draw(rng, rows, _INPUTS.get(regime, USUAL), age_days)
        draw, original = refund(rng, draw)
        moved = rng.random(rows) < self._moved_share(index, regime)
        fraud = rng.random(rows) < fraud_probability(draw, age_days[draw.slot], moved)
        return _frame(
            payment_id=_names(f"p-{index}-", np.arange(rows)),
            event_timestamp=np.datetime64(start.astimezone(UTC).replace(tzinfo=None), "us") + offsets,
            account_id=_names("a-", np.arange(days.size), generation)[draw.slot],
            merchant_id=_names("m-", np.arange(self._merchants.sum()))[draw.merchant],
            merchant_category=np.array(CATEGORIES, dtype=object)[draw.category],
            channel=np.array(CHANNELS, dtype=object)[draw.channel],
            device=np.array(DEVICES, dtype=object)[draw.device],
            country=np.array(COUNTRIES, dtype=object)[draw.country],
            amount=self._amount(draw),
            distance_km=_distance_km(draw),
            account_age_days=age_days[draw.slot],
            original_payment_id=np.where(original < 0, NOTHING, _names(f"p-{index}-", original)),
            is_fraud=fraud.astype(np.int64),
        )

    def _draw(self, rng: np.random.Generator, rows: int, inputs: Inputs, age_days: Integers) -> tuple[Integers, Draw]:
        """Offsets in the window in microseconds, strictly rising, and the payments at them."""
        # Every regime uses the same random numbers: a regime without moved inputs has the very inputs of HEALTHY.
        offsets, leader, burst = arrivals(rng, rows)
        weight = self._activity * np.where(age_days < 365, inputs.young_factor, 1.0)
        slot = pick(weight, rng.random(rows))[leader]
        channel = pick(np.array(inputs.channels), rng.random(rows))
        category = pick(np.array(inputs.categories)[channel], rng.random(rows))
        merchant = category + len(CATEGORIES) * (rng.random(rows) * self._merchants[category]).astype(np.int64)
        abroad = rng.random(rows) < 0.05
        draw = Draw(
            slot=slot,
            burst=burst,
            channel=channel,
            device=pick(DEVICE_BY_CHANNEL[channel], rng.random(rows)),
            category=category,
            merchant=merchant,
            country=np.where(abroad, rng.integers(0, len(COUNTRIES), rows), self._home[slot]),
            log_excess=AMOUNT_SPREAD * rng.standard_normal(rows),
            log_distance=rng.standard_normal(rows) + np.log(inputs.distance_factor) / DISTANCE_SPREAD,
        )
        return offsets, draw

    def _amount(self, draw: Draw) -> Floats:
        amount = AMOUNT_BY_CATEGORY[draw.category] * np.exp(self._typical[draw.slot] + draw.log_excess)
        return np.clip(amount, *AMOUNT_RANGE).round(2)

    def _moved_share(self, index: int, regime: Regime) -> float:
        """Share of a batch's rows that are labelled under the new P(y|x)."""
        if regime is Regime.GRADUAL_CONCEPT:
            return min(max((index - self.since + 1) / self.ramp_batches, 0.0), 1.0)
        return float(regime is Regime.CONCEPT_CHANGE)


def _check_arguments(index: int, rows: int, start: datetime) -> None:
    if index < 0:
        raise SpecError(f"A batch index must be 0 or more; received {index}. Count batches from 0.")
    if not 1 <= rows <= MAX_ROWS:
        raise SpecError(f"A batch must have 1 to {MAX_ROWS:,} rows; received {rows}. Spread them over more batches.")
    if start.tzinfo is None or start < FIRST_DAY:
        raise SpecError(f"start must have a time zone and be {FIRST_DAY:%Y} or later; received {start}. Correct it.")


def _distance_km(draw: Draw) -> Floats:
    distance = DISTANCE_MEDIAN_KM * np.exp(DISTANCE_SPREAD * draw.log_distance)
    return np.minimum(distance, MAX_DISTANCE_KM, dtype=np.float64).round(2)


def _names(prefix: str, *numbers: Integers) -> Objects:
    """Object array of `prefix` and the numbers joined by hyphens."""
    parts = [map(str, column.tolist()) for column in numbers]
    return np.array([prefix + "-".join(name) for name in zip(*parts, strict=True)], dtype=object)


def _frame(**columns: npt.NDArray[Any]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(columns)
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_localize("UTC")
    # A string column even in a batch without refunds, where the objects alone would not tell the type.
    frame["original_payment_id"] = frame["original_payment_id"].astype("string")
    return frame
