"""The engine `dask` on a real cluster of processes: the same studies as here, workers that die, and a joint fit."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from distributed import LocalCluster

from selfheal_assets.adapters.dask_cluster import DaskCluster
from selfheal_assets.adapters.dask_fit import DaskTrainer
from selfheal_assets.adapters.optuna_search import OptunaTuner
from selfheal_assets.adapters.xgboost_trainer import XGBoostTrainer, load_model
from selfheal_assets.core.errors import SpecError, TrainingError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.ports import LabelledRows, TunedParameters
from selfheal_assets.wiring import Services

TRIALS = 8
WARM_START = {"max_depth": 4, "learning_rate": 0.1, "window": 4}


def spec(**training: Any) -> ModelSpec:
    settings = {"trials": TRIALS, "min_rows": 400, "max_boost_rounds": 40, "early_stopping_rounds": 10, **training}
    return ModelSpec(
        name="toy",
        description="A learnable toy.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="toy", categorical=("device",)),
        training=TrainingSpec(**{"engine": "dask", "windows": (2, 4), **settings}),
    )


def labelled(size: int = 300, batches: int = 4) -> LabelledRows:
    rng = np.random.default_rng(1)
    n = batches * size
    features = pd.DataFrame({f"x{i}": rng.normal(size=n) for i in range(5)})
    features["device"] = pd.Series(rng.choice(["a", "b", "c"], n), dtype="string").mask(rng.random(n) < 0.05)
    strength = 2.0 * features["x0"] + features["x1"] * features["x2"] + (features["device"] == "c").fillna(False)
    day = np.repeat(np.arange(batches), size)
    return LabelledRows(
        features=features,
        label=(rng.random(n) < 1 / (1 + np.exp(-strength))).astype(int).to_numpy(),
        event_id=np.array([f"e{i}" for i in range(n)]),
        batch_id=np.array([f"b{d}" for d in day]),
        event_time=np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D") + np.arange(n),
    )


def outcomes(tuned: TunedParameters) -> list[tuple[Any, ...]]:
    return [(t["number"], t["state"], t["score"], t["window"], t["parameters"]) for t in tuned.trials]


def stored(home: Path, study: str) -> list[optuna.trial.FrozenTrial]:
    """What is in the journal, by Optuna's own reader, in a storage opened afresh."""
    backend = optuna.storages.journal.JournalFileBackend(str(home / "optuna" / "toy.journal"))
    return optuna.load_study(study_name=study, storage=optuna.storages.JournalStorage(backend)).get_trials()


@pytest.fixture(scope="module")
def rows() -> LabelledRows:
    return labelled()


@pytest.fixture(scope="module")
def local_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.fixture
def cluster(local_cluster: LocalCluster) -> DaskCluster:
    """With two workers: those that a test killed are back."""
    local_cluster.wait_for_workers(2, timeout=30)
    return DaskCluster(local_cluster.scheduler_address)


def test_one_trial_at_a_time_is_the_study_of_one_process(
    rows: LabelledRows, cluster: DaskCluster, tmp_path: Path
) -> None:
    here = OptunaTuner(tmp_path / "here").tune(spec(engine="local"), "s", rows, WARM_START)
    there = OptunaTuner(tmp_path / "there", cluster=cluster).tune(spec(parallel_trials=1), "s", rows, WARM_START)
    assert outcomes(there) == outcomes(here)
    assert there.trials[0]["parameters"]["max_depth"] == WARM_START["max_depth"]


def test_a_worker_killed_in_the_middle_changes_nothing(local_cluster: LocalCluster, tmp_path: Path) -> None:
    rows, settings = labelled(size=1500), spec(max_boost_rounds=150, early_stopping_rounds=150)
    cluster = DaskCluster(local_cluster.scheduler_address)
    killed: list[int] = []

    def strike(done: int, _total: int, _best: float) -> None:
        if done == 2:
            killed.append(next(worker.pid for worker in local_cluster.workers.values() if worker.pid))
            threading.Timer(0.05, os.kill, (killed[0], signal.SIGKILL)).start()

    calm = OptunaTuner(tmp_path / "calm", cluster=cluster).tune(settings, "s", rows, WARM_START)
    disturbed = OptunaTuner(tmp_path / "disturbed", strike, cluster=cluster).tune(settings, "s", rows, WARM_START)
    assert len(killed) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(killed[0], 0)
    assert [trial.number for trial in stored(tmp_path / "disturbed", "s")] == list(range(TRIALS))
    assert all(trial.state.is_finished() for trial in stored(tmp_path / "disturbed", "s"))
    assert outcomes(disturbed) == outcomes(calm)


def test_the_rows_are_sent_again_when_every_worker_was_killed(
    rows: LabelledRows, local_cluster: LocalCluster, tmp_path: Path
) -> None:
    def strike(done: int, _total: int, _best: float) -> None:
        if done == 1:
            for worker in local_cluster.workers.values():
                os.kill(worker.pid, signal.SIGKILL)

    tuned = OptunaTuner(tmp_path, strike, cluster=DaskCluster(local_cluster.scheduler_address)).tune(
        spec(), "s", rows, None
    )
    assert [trial["number"] for trial in tuned.trials] == list(range(TRIALS))
    assert "FAIL" not in {trial["state"] for trial in tuned.trials}


def test_a_run_that_ends_in_the_middle_is_resumed_within_its_budget(
    rows: LabelledRows, cluster: DaskCluster, tmp_path: Path
) -> None:
    def end(done: int, _total: int, _best: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OptunaTuner(tmp_path, end, cluster=cluster).tune(spec(), "s", rows, None)
    left = [trial.state.name for trial in stored(tmp_path, "s")]
    assert left.count("RUNNING") == len(left) - 2 > 0
    tuned = OptunaTuner(tmp_path, cluster=cluster).tune(spec(), "s", rows, None)
    assert len(tuned.trials) == TRIALS
    assert sum(trial.state.is_finished() for trial in stored(tmp_path, "s")) == TRIALS


def test_a_trial_that_fails_on_a_worker_says_why(rows: LabelledRows, cluster: DaskCluster, tmp_path: Path) -> None:
    repeated = rows.event_id.copy()
    repeated[-1] = repeated[-400]
    twice = dataclasses.replace(rows, event_id=repeated)
    with pytest.raises(TrainingError, match=r"received 3 .*an event must be in one batch only"):
        OptunaTuner(tmp_path, cluster=cluster).tune(spec(trials=3), "s", twice, None)


TUNED = TunedParameters(parameters={"learning_rate": 0.3, "max_depth": 3}, window=4, score=0.8)


def test_a_large_window_is_fitted_by_all_workers(rows: LabelledRows, cluster: DaskCluster, tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    joint = DaskTrainer(cluster).train(spec(distributed_rows=1_000), rows, TUNED)
    alone = XGBoostTrainer().train(spec(), rows, TUNED)
    joint.save(tmp_path)
    assert np.array_equal(load_model(tmp_path).score(rows.features), joint.score(rows.features))
    auc = [roc_auc_score(rows.label, model.score(rows.features)) for model in (joint, alone)]
    assert min(auc) > 0.8
    assert abs(auc[0] - auc[1]) < 0.05
    assert joint.booster.save_raw() != alone.booster.save_raw(), "the workers must have fitted it"
    assert joint.schema == alone.schema


def test_a_window_within_the_bound_is_fitted_here(rows: LabelledRows) -> None:
    nobody = DaskCluster("tcp://127.0.0.1:1")
    model = DaskTrainer(nobody).train(spec(distributed_rows=1_200), rows, TUNED)
    assert model.booster.save_raw() == XGBoostTrainer().train(spec(), rows, TUNED).booster.save_raw()


def test_a_worker_lost_in_a_joint_fit_ends_it(local_cluster: LocalCluster, cluster: DaskCluster) -> None:
    endless = spec(distributed_rows=1_000, max_boost_rounds=100_000, early_stopping_rounds=100_000)
    slow = dataclasses.replace(TUNED, parameters={"learning_rate": 1e-6, "max_depth": 8})

    def strike() -> None:
        # So are the tasks named in which XGBoost's workers train together.
        while not any(key.startswith("fn-") for key in map(str, list(local_cluster.scheduler.tasks))):
            time.sleep(0.05)
        os.kill(next(iter(local_cluster.workers.values())).pid, signal.SIGKILL)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    with pytest.raises(TrainingError, match=r"1 of 2 are gone.*temporarily unavailable"):
        DaskTrainer(cluster).train(endless, labelled(size=2_000), slow)
    thread.join(10)


def test_a_cluster_that_is_not_there_is_named(rows: LabelledRows, tmp_path: Path) -> None:
    for address, error, said in (
        (None, SpecError, "SELFHEAL_DASK_SCHEDULER is not set"),
        ("scheduler:8786", SpecError, "received 'scheduler:8786'"),
        ("tcp://127.0.0.1:1", TrainingError, "tcp://127.0.0.1:1 is temporarily unavailable"),
    ):
        with pytest.raises(error, match=said):
            OptunaTuner(tmp_path, cluster=DaskCluster(address, connect_seconds=0.5)).tune(spec(), "s", rows, None)
    assert stored(tmp_path, "s") == []


def test_a_cluster_without_workers_is_not_waited_for_without_end(rows: LabelledRows, tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(TrainingError, match=r"must have a worker within 0\.2 s"),
    ):
        OptunaTuner(tmp_path, cluster=DaskCluster(empty.scheduler_address, workers_seconds=0.2)).tune(
            spec(), "s", rows, None
        )


def test_the_environment_names_the_cluster(rows: LabelledRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_DASK_SCHEDULER", "nowhere")
    services = Services(tmp_path)
    with pytest.raises(SpecError, match="received 'nowhere'"):
        services.tuner.tune(spec(), "s", rows, None)
    with pytest.raises(SpecError, match="received 'nowhere'"):
        services.trainer.train(spec(distributed_rows=1), rows, TUNED)
