"""Recalibration on a real booster: every logit moves by exactly as much, in every program that loads the file."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from selfheal_assets.adapters.recalibration import with_moved_logit
from selfheal_assets.adapters.xgboost_trainer import BOOSTER_FILE, XGBoostModel, XGBoostTrainer, load_model
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.core.statistics.metrics import expected_calibration_error, metric
from selfheal_assets.ports import LabelledRows, TunedParameters

SPEC = ModelSpec(
    name="toy",
    description="A learnable toy.",
    owners=("team:tests",),
    data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
    features=FeaturesSpec(service="toy", categorical=("device",)),
    training=TrainingSpec(min_rows=400, max_boost_rounds=40, early_stopping_rounds=5),
)
TUNED = TunedParameters(parameters={"learning_rate": 0.3, "max_depth": 3}, window=2, score=0.8)
MOVES = [-6.0, -1.5, -1e-3, 0.0, 0.7, 2.0, 6.0]


def labelled(seed: int, size: int = 1_200) -> LabelledRows:
    """Two days of rows; the label follows the amount and the device."""
    rng = np.random.default_rng(seed)
    amount, device = rng.normal(size=size), rng.choice(["a", "b", "c"], size)
    features = pd.DataFrame({"amount": amount, "device": pd.Series(device, dtype="string")})
    chance = 1 / (1 + np.exp(-(1.5 * amount + 1.5 * (device == "c") - 1)))
    day = np.repeat([0, 1], size // 2)
    return LabelledRows(
        features=features,
        label=(rng.random(size) < chance).astype(int),
        event_id=np.array([f"e{i}" for i in range(size)]),
        batch_id=np.array([f"b{d}" for d in day]),
        event_time=np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D") + np.arange(size),
    )


ROWS = labelled(3)


@pytest.fixture(scope="module")
def model() -> XGBoostModel:
    return XGBoostTrainer().train(SPEC, labelled(1), TUNED)


def logits(model: XGBoostModel) -> np.ndarray:
    """(n,) of the rows: the margins, which do not round near 0 and 1 as probabilities do."""
    encoded = model.schema.encode(ROWS.features)
    rounds = (0, model.best_iteration + 1)
    return np.asarray(
        model.booster.inplace_predict(encoded, iteration_range=rounds, predict_type="margin"), dtype=float
    )


@pytest.mark.parametrize("move", MOVES)
def test_every_logit_moves_by_just_as_much(model: XGBoostModel, move: float) -> None:
    moved = with_moved_logit(model, move)
    np.testing.assert_allclose(logits(moved) - logits(model), move, atol=2e-5)
    expected = 1 / (1 + np.exp(-(logits(model) + move)))
    np.testing.assert_allclose(moved.score(ROWS.features), expected, rtol=1e-4)


def test_the_model_that_it_came_from_is_as_it_was(model: XGBoostModel) -> None:
    before, parameters = model.score(ROWS.features), dict(model.parameters)
    with_moved_logit(model, 2.0)
    np.testing.assert_array_equal(model.score(ROWS.features), before)
    assert model.parameters == parameters


@pytest.mark.parametrize("move", MOVES)
def test_the_order_of_the_scores_and_the_trees_are_the_same(model: XGBoostModel, move: float) -> None:
    moved = with_moved_logit(model, move)
    was, is_ = (metric("roc_auc", ROWS.label, one.score(ROWS.features)) for one in (model, moved))
    assert is_ == pytest.approx(was, abs=1e-4)
    assert metric("roc_auc", ROWS.label, logits(moved)) == pytest.approx(metric("roc_auc", ROWS.label, logits(model)))
    assert moved.importance() == model.importance()
    assert moved.best_iteration == model.best_iteration


@pytest.mark.parametrize("move", [-1.5, 0.7])
def test_it_survives_the_file(model: XGBoostModel, move: float, tmp_path: Path) -> None:
    moved = with_moved_logit(model, move)
    moved.save(tmp_path)
    loaded = load_model(tmp_path)
    np.testing.assert_array_equal(loaded.score(ROWS.features), moved.score(ROWS.features))
    assert loaded.parameters["logit_moved"] == move
    assert loaded.parameters["max_depth"] == 3
    bare = xgboost.Booster(model_file=tmp_path / BOOSTER_FILE)
    rounds = (0, model.best_iteration + 1)
    np.testing.assert_allclose(
        bare.inplace_predict(loaded.schema.encode(ROWS.features), iteration_range=rounds),
        1 / (1 + np.exp(-(logits(model) + move))),
        rtol=1e-4,
    )


def test_a_fresh_process_gives_the_same_scores(model: XGBoostModel, tmp_path: Path) -> None:
    moved = XGBoostTrainer().recalibrate(model, -1.0)
    moved.save(tmp_path)
    np.testing.assert_array_equal(XGBoostTrainer().reload_scores(tmp_path, ROWS.features), moved.score(ROWS.features))


def test_moves_add_up_and_the_model_says_how_far_it_was_moved_in_all(model: XGBoostModel) -> None:
    twice = with_moved_logit(with_moved_logit(model, 1.0), -0.25)
    np.testing.assert_allclose(logits(twice) - logits(model), 0.75, atol=2e-5)
    assert twice.parameters["logit_moved"] == pytest.approx(0.75)


def test_another_share_of_label_1_is_what_it_mends(model: XGBoostModel) -> None:
    """Half of the ones are dropped: the odds halve, and so must every score's."""
    rng = np.random.default_rng(4)
    keep = (ROWS.label == 0) | (rng.random(len(ROWS.label)) < 0.5)
    label, features = ROWS.label[keep], ROWS.features[keep].reset_index(drop=True)
    before = model.score(features)
    after = with_moved_logit(model, float(np.log(0.5))).score(features)
    assert abs(after.mean() - label.mean()) < abs(before.mean() - label.mean()) / 2
    assert metric("log_loss", label, after) < metric("log_loss", label, before)
    assert expected_calibration_error(label, after) < expected_calibration_error(label, before)


@pytest.mark.parametrize("move", [np.nan, np.inf, -np.inf])
def test_a_move_that_is_no_number_is_refused(model: XGBoostModel, move: float) -> None:
    with pytest.raises(TrainingError, match=f"must be a finite number; received {move}. Give more labelled rows"):
        with_moved_logit(model, float(move))


@pytest.mark.parametrize("move", [-800.0, -120.0, 40.0, 800.0])
def test_a_move_beyond_every_share_is_refused(model: XGBoostModel, move: float) -> None:
    """No share of rows is so near 0 or 1; and no intercept that XGBoost keeps would hold it."""
    with pytest.raises(TrainingError, match="received"):
        with_moved_logit(model, move)


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson"])
def test_a_model_without_odds_is_refused(model: XGBoostModel, objective: str) -> None:
    table = xgboost.DMatrix(model.schema.encode(ROWS.features), label=ROWS.label + 3.0, enable_categorical=True)
    booster = xgboost.train({"objective": objective, "max_depth": 2}, table, num_boost_round=2)
    other = dataclasses.replace(model, booster=booster, best_iteration=1)
    with pytest.raises(TrainingError, match="binary:logistic"):
        with_moved_logit(other, 0.5)
