"""The payments world: deterministic, of the declared shape, and moved by each regime as that regime promises."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from xgboost import XGBClassifier

from selfheal_assets.core.errors import SpecError
from selfheal_assets.simulator.payment_draws import CATEGORIES, CHANNELS, COUNTRIES, DEVICES, WINDOW
from selfheal_assets.simulator.payments import (
    AMOUNT_RANGE,
    EPOCH,
    MAX_DISTANCE_KM,
    PaymentsWorld,
    Regime,
    window_start,
)

LEVELS = {"merchant_category": CATEGORIES, "channel": CHANNELS, "device": DEVICES, "country": COUNTRIES}
REQUEST = [*LEVELS, "amount", "distance_km", "account_age_days"]
WORLD = PaymentsWorld()


def drawn(regime: Regime, indices: range, rows: int = 2_500, world: PaymentsWorld = WORLD) -> pd.DataFrame:
    return pd.concat([world.batch(index, rows, regime) for index in indices], ignore_index=True)


def features(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[REQUEST].assign(**{name: pd.Categorical(frame[name], levels) for name, levels in LEVELS.items()})


def fitted(frame: pd.DataFrame) -> XGBClassifier:
    model = XGBClassifier(
        n_estimators=100, max_depth=4, learning_rate=0.08, enable_categorical=True, n_jobs=2, random_state=0
    )
    return model.fit(features(frame), frame["is_fraud"])


def auc(model: XGBClassifier, frame: pd.DataFrame) -> float:
    return float(roc_auc_score(frame["is_fraud"], model.predict_proba(features(frame))[:, 1]))


def psi(reference: pd.Series, batch: pd.Series) -> float:
    """Population stability index over the reference's deciles, or over categories."""
    if reference.dtype == object:
        levels = sorted(set(reference) | set(batch))
        p, q = (s.value_counts(normalize=True).reindex(levels, fill_value=0).to_numpy() for s in (reference, batch))
    else:
        edges = np.quantile(reference, np.linspace(0.1, 0.9, 9))
        p, q = (np.bincount(np.searchsorted(edges, s), minlength=10) / len(s) for s in (reference, batch))
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(((q - p) * np.log(q / p)).sum())


@pytest.fixture(scope="module")
def champion() -> XGBClassifier:
    return fitted(drawn(Regime.HEALTHY, range(3), 2_000))


@pytest.fixture(scope="module")
def healthy() -> pd.DataFrame:
    return drawn(Regime.HEALTHY, range(10, 16))


@pytest.mark.parametrize("regime", list(Regime))
def test_a_batch_depends_on_its_arguments_only(regime: Regime) -> None:
    first = PaymentsWorld(seed=3).batch(4, 300, regime)
    other = PaymentsWorld(seed=3)
    other.batch(5, 300, regime)
    pd.testing.assert_frame_equal(first, other.batch(4, 300, regime))
    for different in (PaymentsWorld(seed=4).batch(4, 300, regime), other.batch(6, 300, regime)):
        assert not first["amount"].equals(different["amount"])


def test_schema_ranges_and_levels(healthy: pd.DataFrame) -> None:
    assert {name: str(kind) for name, kind in healthy.dtypes.items()} == {
        **dict.fromkeys(("payment_id", "account_id", "merchant_id", *LEVELS), "object"),
        "event_timestamp": "datetime64[us, UTC]",
        "amount": "float64",
        "distance_km": "float64",
        "account_age_days": "int64",
        "original_payment_id": "string",
        "is_fraud": "int64",
    }
    for name, levels in LEVELS.items():
        assert set(healthy[name]) == set(levels)
    assert healthy.drop(columns="original_payment_id").notna().all().all()
    assert healthy["amount"].between(*AMOUNT_RANGE).all()
    assert np.allclose(healthy["amount"], healthy["amount"].round(2))
    assert 50 < healthy["amount"].mean() < 70
    assert healthy["distance_km"].between(0, MAX_DISTANCE_KM).all()
    assert healthy["account_age_days"].ge(0).all()
    assert 0.10 < healthy["is_fraud"].mean() < 0.14
    assert healthy["account_id"].nunique() <= 500 + 50
    assert healthy["merchant_id"].nunique() <= 200
    assert healthy.groupby("merchant_id")["merchant_category"].nunique().eq(1).all()
    assert (healthy["channel"].eq("pos") == healthy["device"].eq("terminal")).all()


@pytest.mark.parametrize("rows", [1, 2, 10, 3_000])
def test_times_rise_within_the_window_and_ids_are_unique(rows: int) -> None:
    frames = [WORLD.batch(index, rows, Regime.HEALTHY) for index in (0, 1, 12, 112)]
    for index, frame in zip((0, 1, 12, 112), frames, strict=True):
        times = frame["event_timestamp"]
        assert len(frame) == rows
        assert times.is_monotonic_increasing
        assert times.is_unique
        assert window_start(index) <= times.min()
        assert times.max() < window_start(index) + WINDOW
        assert frame["original_payment_id"].dtype == "string"
    assert pd.concat(frames)["payment_id"].is_unique


def test_start_moves_the_window_to_another_zone_and_time() -> None:
    start = datetime.fromisoformat("2026-07-01T02:00:00+02:00")
    frame = WORLD.batch(3, 50, Regime.HEALTHY, start)
    assert frame["event_timestamp"].min() >= pd.Timestamp("2026-07-01", tz="UTC")
    assert frame["event_timestamp"].max() < start + WINDOW
    assert window_start(4, start) == datetime(2026, 7, 2, tzinfo=UTC)
    assert window_start(4) == EPOCH + timedelta(days=1)


def test_refunds_are_parts_of_earlier_payments_of_the_same_account() -> None:
    frame = WORLD.batch(8, 20_000, Regime.HEALTHY)
    refunds = frame.dropna(subset="original_payment_id").reset_index()
    assert 0.015 < len(refunds) / len(frame) < 0.025
    payments = frame.reset_index().set_index("payment_id").loc[refunds["original_payment_id"]].reset_index()
    assert (payments["index"] < refunds["index"]).all()
    assert (payments["event_timestamp"] < refunds["event_timestamp"]).all()
    assert payments["original_payment_id"].isna().all()
    assert payments["account_id"].equals(refunds["account_id"])
    assert (refunds["amount"] <= payments["amount"]).all()


def test_fraud_comes_in_bursts_of_an_account() -> None:
    frame = drawn(Regime.HEALTHY, range(20), 500).sort_values(["account_id", "event_timestamp"])
    payments = frame[frame["original_payment_id"].isna()]
    gap = payments.groupby("account_id")["event_timestamp"].diff().dt.total_seconds()
    assert payments.loc[gap < 300, "is_fraud"].mean() > 1.3 * payments.loc[gap > 3_600, "is_fraud"].mean()


def test_champion_learns_and_the_account_s_own_amount_helps(champion: XGBClassifier, healthy: pd.DataFrame) -> None:
    score = auc(champion, healthy)
    assert 0.83 < score < 0.88
    typical = drawn(Regime.HEALTHY, range(3), 2_000).groupby("account_id")["amount"].median()
    excess = healthy["amount"] / healthy["account_id"].map(typical)
    known = excess.notna()
    assert roc_auc_score(healthy["is_fraud"][known], excess[known]) > 0.02 + roc_auc_score(
        healthy["is_fraud"][known], healthy["amount"][known]
    )


def test_healthy_inputs_do_not_move_by_themselves(healthy: pd.DataFrame) -> None:
    later = drawn(Regime.HEALTHY, range(1_000, 1_003))
    assert max(psi(healthy[name], later[name]) for name in REQUEST) < 0.1


def test_benign_shift_moves_inputs_and_not_the_champion(champion: XGBClassifier, healthy: pd.DataFrame) -> None:
    moved = drawn(Regime.BENIGN_SHIFT, range(20, 28))
    importance = dict(zip(REQUEST, champion.feature_importances_, strict=True))
    shifted = [name for name in REQUEST if psi(healthy[name], moved[name]) > 0.25 and importance[name] > 0.05]
    assert {"distance_km", "account_age_days"} <= set(shifted)
    assert abs(auc(champion, moved) - auc(champion, healthy)) < 0.02


def test_harmful_shift_breaks_the_champion_and_retraining_mends_it(
    champion: XGBClassifier, healthy: pd.DataFrame
) -> None:
    moved = drawn(Regime.HARMFUL_SHIFT, range(30, 36))
    assert sum(psi(healthy[name], moved[name]) > 0.25 for name in REQUEST) >= 2
    assert auc(champion, moved) <= auc(champion, healthy) - 0.12
    recent = drawn(Regime.HARMFUL_SHIFT, range(40, 42))
    assert auc(fitted(recent[:3_750]), recent[3_750:]) >= 0.8
    both = pd.concat([healthy, recent])
    assert auc(fitted(both), moved) >= 0.8, "P(y|x) has not moved: one model can serve both"


@pytest.mark.parametrize("regime", [Regime.BENIGN_SHIFT, Regime.HARMFUL_SHIFT])
def test_shifts_stay_within_what_quality_checks_allow(regime: Regime, healthy: pd.DataFrame) -> None:
    moved = drawn(regime, range(50, 54))
    assert moved.dtypes.equals(healthy.dtypes)
    assert list(moved) == list(healthy)
    for name, levels in LEVELS.items():
        assert set(moved[name]) <= set(levels)
    assert moved["amount"].between(*AMOUNT_RANGE).all()
    for name in ("amount", "distance_km", "account_age_days", "is_fraud"):
        assert 0.5 < moved[name].mean() / healthy[name].mean() < 2.0


def test_concept_change_moves_the_label_alone(champion: XGBClassifier, healthy: pd.DataFrame) -> None:
    changed = drawn(Regime.CONCEPT_CHANGE, range(10, 16))
    pd.testing.assert_frame_equal(changed.drop(columns="is_fraud"), healthy.drop(columns="is_fraud"))
    assert auc(champion, changed) <= auc(champion, healthy) - 0.12
    assert auc(fitted(changed[:7_500]), changed[7_500:]) >= 0.8


def test_gradual_concept_goes_from_none_to_all() -> None:
    world = PaymentsWorld(since=20, ramp_batches=4)

    def moved_share(index: int) -> float:
        labels = {
            regime: world.batch(index, 4_000, regime)["is_fraud"]
            for regime in (Regime.HEALTHY, Regime.GRADUAL_CONCEPT, Regime.CONCEPT_CHANGE)
        }
        differs = labels[Regime.HEALTHY] != labels[Regime.CONCEPT_CHANGE]
        return float((labels[Regime.GRADUAL_CONCEPT] == labels[Regime.CONCEPT_CHANGE])[differs].mean())

    shares = [moved_share(index) for index in (0, 19, 20, 21, 22, 23, 40)]
    assert shares == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1], abs=0.06)


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"accounts": 0}, {"merchants": 7}, {"since": -1}])
def test_impossible_worlds_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="must be at least"):
        PaymentsWorld(**arguments)


@pytest.mark.parametrize(
    ("index", "rows", "start"),
    [(-1, 10, EPOCH), (0, 0, EPOCH), (0, 10**8, EPOCH), (0, 10, datetime(2026, 1, 1)), (0, 10, datetime.min)],
)
def test_impossible_batches_are_refused(index: int, rows: int, start: datetime) -> None:
    with pytest.raises(SpecError, match=r"received .+\."):
        WORLD.batch(index, rows, Regime.HEALTHY, start)
