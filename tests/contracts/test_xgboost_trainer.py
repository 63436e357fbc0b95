"""The trainer on real XGBoost: encoding, refusal, determinism, and a reload in a fresh process."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters.feature_schema import FeatureSchema
from selfheal_assets.adapters.xgboost_trainer import (
    BOOSTER_FILE,
    SCHEMA_FILE,
    XGBoostModel,
    XGBoostTrainer,
    load_model,
    newest_rows,
)
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.failures import FailureClass, classify
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
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


def labelled(batches: int = 3, size: int = 400, seed: int = 1) -> LabelledRows:
    """`batches` days of rows; the label follows the amount and the device 'c'."""
    rng = np.random.default_rng(seed)
    n = batches * size
    features = pd.DataFrame({"amount": rng.normal(size=n), "age": rng.normal(size=n)})
    features["device"] = pd.Series(rng.choice(["a", "b", "c"], n), dtype="string").mask(rng.random(n) < 0.05)
    chance = 1 / (1 + np.exp(-(2 * features["amount"] + 2 * (features["device"] == "c").fillna(False) - 1)))
    day = np.repeat(np.arange(batches), size)
    return LabelledRows(
        features=features,
        label=(rng.random(n) < chance).astype(int).to_numpy(),
        event_id=np.array([f"e{i}" for i in range(n)]),
        batch_id=np.array([f"b{d}" for d in day]),
        event_time=np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D") + np.arange(n),
    )


@pytest.fixture(scope="module")
def rows() -> LabelledRows:
    return labelled()


@pytest.fixture(scope="module")
def model(rows: LabelledRows) -> XGBoostModel:
    return XGBoostTrainer().train(SPEC, rows, TUNED)


def test_learns_and_gives_probabilities(model: XGBoostModel) -> None:
    from sklearn.metrics import roc_auc_score

    fresh = labelled(batches=1, seed=9)
    scores = model.score(fresh.features)
    assert scores.shape == (400,)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert roc_auc_score(fresh.label, scores) > 0.8
    assert abs(scores.mean() - fresh.label.mean()) < 0.06


def test_keeps_only_the_rounds_up_to_the_best(model: XGBoostModel) -> None:
    assert model.booster.num_boosted_rounds() == model.best_iteration + 1
    assert model.best_iteration + 1 < SPEC.training.max_boost_rounds


def test_unseen_and_missing_categories_score_alike(rows: LabelledRows, model: XGBoostModel) -> None:
    sample = rows.features.head(50)
    unseen = model.score(sample.assign(device=pd.Series("zebra", index=sample.index, dtype="string")))
    missing = model.score(sample.assign(device=pd.Series(pd.NA, index=sample.index, dtype="string")))
    known = model.score(sample.assign(device=pd.Series("c", index=sample.index, dtype="string")))
    np.testing.assert_array_equal(unseen, missing)
    assert np.abs(known - missing).max() > 0.01


def test_columns_are_taken_by_name(rows: LabelledRows, model: XGBoostModel) -> None:
    shuffled = rows.features[["device", "age", "amount"]].assign(stranger=1.0)
    np.testing.assert_array_equal(model.score(shuffled), model.score(rows.features))


@pytest.mark.parametrize("dtype", ["category", "object", "string"])
def test_categories_may_come_as_any_text_type(rows: LabelledRows, model: XGBoostModel, dtype: str) -> None:
    recast = rows.features.assign(device=rows.features["device"].astype(dtype))
    np.testing.assert_array_equal(model.score(recast), model.score(rows.features))


def test_infinite_and_enormous_numbers_count_as_missing(rows: LabelledRows, model: XGBoostModel) -> None:
    sample = rows.features.head(3)
    missing = model.score(sample.assign(amount=np.nan))
    np.testing.assert_array_equal(model.score(sample.assign(amount=[np.inf, -np.inf, 1e300])), missing)
    assert model.score(sample.iloc[:0]).shape == (0,)


def test_a_missing_column_is_refused_by_name(rows: LabelledRows, model: XGBoostModel) -> None:
    with pytest.raises(TrainingError, match=r"every feature must be given once.*\['age'\]"):
        model.score(rows.features.drop(columns="age"))


def test_text_in_a_number_is_refused(rows: LabelledRows, model: XGBoostModel) -> None:
    with pytest.raises(TrainingError, match="feature 'amount' must hold numbers"):
        model.score(rows.features.assign(amount="12 euros"))


def test_a_category_that_is_no_feature_is_refused(rows: LabelledRows) -> None:
    with pytest.raises(TrainingError, match=r"must be among the model's features; received \['colour'\]"):
        FeatureSchema.learn(rows.features, ("colour",))


def test_a_wholly_missing_column_can_be_trained_on(rows: LabelledRows) -> None:
    emptied = rows.features.assign(device=pd.Series(pd.NA, index=rows.features.index, dtype="string"), age=np.nan)
    trained = XGBoostTrainer().train(SPEC, dataclasses.replace(rows, features=emptied), TUNED)
    assert trained.schema.categories == {"device": ()}
    assert trained.importance() == {"amount": 1.0, "age": 0.0, "device": 0.0}


def test_categories_are_learned_from_fitted_rows_only(rows: LabelledRows) -> None:
    features = rows.features.copy()
    features.loc[features.index[-30:], "device"] = "late"
    features.loc[features.index[:30], "device"] = "early"
    trained = XGBoostTrainer().train(SPEC, dataclasses.replace(rows, features=features), TUNED)
    assert trained.schema.categories == {"device": ("a", "b", "c")}


def test_window_is_the_most_recent_batches_by_event_time(rows: LabelledRows) -> None:
    names = np.array(["z", "m", "a"]).repeat(400)
    shuffle = np.random.default_rng(0).permutation(len(rows.label))
    mixed = dataclasses.replace(
        rows,
        batch_id=names[shuffle],
        event_time=pd.Series(rows.event_time[shuffle]).dt.tz_localize("UTC").to_numpy(dtype=object),
    )
    chosen = newest_rows(mixed, 2)
    assert set(mixed.batch_id[chosen]) == {"m", "a"}
    assert (np.diff(mixed.event_time[chosen]) > pd.Timedelta(0)).all()
    assert len(newest_rows(mixed, 99)) == len(rows.label)


def test_importance_is_a_share_of_the_gain(model: XGBoostModel) -> None:
    importance = model.importance()
    assert sum(importance.values()) == pytest.approx(1.0)
    assert max(importance, key=importance.__getitem__) == "amount"
    assert set(importance) == {"amount", "age", "device"}


def test_the_same_seed_gives_the_same_bytes(rows: LabelledRows, model: XGBoostModel, tmp_path) -> None:
    model.save(tmp_path / "first")
    XGBoostTrainer().train(SPEC, rows, TUNED).save(tmp_path / "second")
    for name in (BOOSTER_FILE, SCHEMA_FILE):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_fresh_process_gives_the_same_scores(rows: LabelledRows, model: XGBoostModel, tmp_path) -> None:
    model.save(tmp_path / "with space")
    odd = rows.features.sample(40, random_state=1)
    odd.loc[odd.index[:3], "device"] = "zebra"
    scores = XGBoostTrainer().reload_scores(tmp_path / "with space", odd)
    np.testing.assert_allclose(scores, model.score(odd), atol=1e-6)
    reloaded = load_model(tmp_path / "with space")
    assert reloaded.parameters == {"learning_rate": 0.3, "max_depth": 3, "window": 2}
    assert reloaded.importance() == model.importance()


def test_a_reload_that_fails_is_reported_in_our_words(rows: LabelledRows, tmp_path) -> None:
    with pytest.raises(TrainingError, match="must load and score in a fresh process"):
        XGBoostTrainer().reload_scores(tmp_path / "nothing here", rows.features)


def test_a_reload_that_a_signal_ends_is_worth_another_try(rows: LabelledRows, tmp_path, monkeypatch) -> None:
    """A library that aborts a process says nothing of the model."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -ABRT $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(TrainingError, match="terminated by signal 6") as caught:
        XGBoostTrainer().reload_scores(tmp_path, rows.features)
    assert classify([("TrainingError", str(caught.value))]) is FailureClass.TRANSIENT


@pytest.mark.parametrize("damage", ["no schema", "no booster", "truncated", "other schema"])
def test_a_damaged_folder_is_refused(model: XGBoostModel, tmp_path, damage: str) -> None:
    model.save(tmp_path)
    booster, schema = tmp_path / BOOSTER_FILE, tmp_path / SCHEMA_FILE
    if damage == "no schema":
        schema.unlink()
    elif damage == "no booster":
        booster.unlink()
    elif damage == "truncated":
        booster.write_bytes(booster.read_bytes()[:200])
    else:
        schema.write_text(schema.read_text().replace("amount", "sum"))
    with pytest.raises(TrainingError, match="Register the model again"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("label", "received"),
    [
        (lambda y: np.zeros_like(y), r"received \['0'\]"),
        (lambda y: np.where(np.arange(len(y)) == len(y) - 500, np.nan, y), "nan"),
        (lambda y: y + 1, r"received \['1', '2'\]"),
        (lambda y: np.where(np.arange(len(y)) >= len(y) - 160, 1, y), "early-stopping rows"),
    ],
)
def test_labels_that_teach_nothing_are_refused(rows: LabelledRows, label, received: str) -> None:
    with pytest.raises(TrainingError, match=f"(?s)the label must be 0 or 1.*{received}"):
        XGBoostTrainer().train(SPEC, dataclasses.replace(rows, label=label(rows.label)), TUNED)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"at least 400 labelled rows.*received 200"):
        XGBoostTrainer().train(SPEC, labelled(batches=2, size=100), TUNED)


def test_parameters_that_xgboost_refuses_are_a_training_error(rows: LabelledRows) -> None:
    bad = dataclasses.replace(TUNED, parameters={"learning_rate": "fast"})
    with pytest.raises(TrainingError, match="XGBoost must accept the parameters"):
        XGBoostTrainer().train(SPEC, rows, bad)
