"""The tuner's studies in PostgreSQL: the same bounds and the same resumption as in its journal."""

import dataclasses
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from servers import CANARY, Postgres

from selfheal_assets.adapters.optuna_search import OptunaTuner
from selfheal_assets.adapters.turns import DatabaseTurns
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.ports import LabelledRows

ROWS = 900


def spec(trials: int) -> ModelSpec:
    return ModelSpec(
        name="toy",
        description="A learnable toy.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="toy"),
        training=TrainingSpec(trials=trials, min_rows=400, max_boost_rounds=10, early_stopping_rounds=5, windows=(2,)),
    )


@pytest.fixture(scope="module")
def rows() -> LabelledRows:
    rng = np.random.default_rng(1)
    features = pd.DataFrame({f"x{i}": rng.normal(size=ROWS) for i in range(3)})
    day = np.repeat(np.arange(3), ROWS // 3)
    return LabelledRows(
        features=features,
        label=(rng.random(ROWS) < 1 / (1 + np.exp(-2 * features["x0"]))).astype(int).to_numpy(),
        event_id=np.arange(ROWS),
        batch_id=np.array([f"b{d}" for d in day]),
        event_time=np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D") + np.arange(ROWS),
    )


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url("tuning")


def test_a_study_is_bounded_and_goes_on_on_another_machine(rows: LabelledRows, url: str, tmp_path: Path) -> None:
    first = OptunaTuner(tmp_path / "one", database=url, alone=DatabaseTurns(url)).tune(spec(3), "s", rows, None)
    assert len(first.trials) == 3
    again = OptunaTuner(tmp_path / "two", database=url, alone=DatabaseTurns(url)).tune(spec(5), "s", rows, None)
    assert len(again.trials) == 5
    assert [trial["parameters"] for trial in again.trials[:3]] == [trial["parameters"] for trial in first.trials]
    assert not (tmp_path / "one").exists(), "nothing of it is on the disk"


def test_a_trial_of_a_killed_process_is_tried_once_more(rows: LabelledRows, url: str, tmp_path: Path) -> None:
    study = optuna.create_study(study_name="killed", storage=url, direction="maximize")
    study.ask(fixed_distributions={})
    tuned = OptunaTuner(tmp_path, database=url).tune(spec(2), "killed", rows, None)
    assert [trial["state"] for trial in tuned.trials].count("FAIL") == 1


def test_the_same_search_as_in_the_journal(rows: LabelledRows, url: str, tmp_path: Path) -> None:
    stored = OptunaTuner(tmp_path, database=url).tune(spec(4), "same", rows, {"max_depth": 3})
    written = OptunaTuner(tmp_path).tune(spec(4), "same", rows, {"max_depth": 3})
    assert stored.parameters == written.parameters
    assert dataclasses.replace(stored, trials=[], history={}) == dataclasses.replace(written, trials=[], history={})


def test_a_wrong_password_is_told_without_it(rows: LabelledRows, postgres: Postgres, tmp_path: Path) -> None:
    wrong = postgres.url("tuning").replace(CANARY, f"{CANARY}-wrong")
    with pytest.raises(TrainingError, match=r"must take tables and rows; received .*\*\*\*@.*selfheal doctor") as told:
        OptunaTuner(tmp_path, database=wrong).tune(spec(2), "s", rows, None)
    assert CANARY not in str(told.value)
