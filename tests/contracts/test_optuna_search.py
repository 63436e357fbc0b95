"""The tuner on real Optuna and XGBoost: bounds, resumption after a kill, pruning, and the choice of a window."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from selfheal_assets.adapters import tuning_objective
from selfheal_assets.adapters.optuna_search import OptunaTuner
from selfheal_assets.adapters.tuning_objective import SEARCH_SPACE, Objective
from selfheal_assets.adapters.xgboost_trainer import XGBoostTrainer
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, PerformanceSpec, TrainingSpec
from selfheal_assets.ports import LabelledRows

TRIALS = 6
FINISHED = {"COMPLETE", "PRUNED", "FAIL"}


def spec(**training: Any) -> ModelSpec:
    settings = {"trials": TRIALS, "min_rows": 400, "max_boost_rounds": 30, "early_stopping_rounds": 10, **training}
    return ModelSpec(
        name="toy",
        description="A learnable toy.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="toy", categorical=("device",)),
        training=TrainingSpec(**{"windows": (2, 4), **settings}),
    )


def labelled(concepts: list[float], size: int = 300, seed: int = 1) -> LabelledRows:
    """One batch a day; in batch i the label follows `concepts[i]` times the amount."""
    rng = np.random.default_rng(seed)
    n = len(concepts) * size
    features = pd.DataFrame({f"x{i}": rng.normal(size=n) for i in range(5)})
    features["device"] = pd.Series(rng.choice(["a", "b", "c"], n), dtype="string")
    signal_strength = np.repeat(concepts, size) * features["x0"] + 0.5 * features["x1"] * features["x2"]
    day = np.repeat(np.arange(len(concepts)), size)
    return LabelledRows(
        features=features,
        label=(rng.random(n) < 1 / (1 + np.exp(-signal_strength))).astype(int).to_numpy(),
        event_id=np.array([f"e{i}" for i in range(n)]),
        batch_id=np.array([f"b{d}" for d in day]),
        event_time=np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D") + np.arange(n),
    )


def stored_states(home: Path, study: str) -> list[str]:
    """What is in the journal, by Optuna's own reader, in a storage opened afresh."""
    backend = optuna.storages.journal.JournalFileBackend(str(home / "optuna" / "toy.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return [trial.state.name for trial in optuna.load_study(study_name=study, storage=storage).get_trials()]


@pytest.fixture(scope="module")
def rows() -> LabelledRows:
    return labelled([2.0] * 4)


def test_a_study_is_bounded_and_reported(rows: LabelledRows, tmp_path: Path) -> None:
    heard: list[tuple[int, int, float]] = []
    tuned = OptunaTuner(tmp_path, progress=lambda *news: heard.append(news)).tune(spec(), "s", rows, None)
    assert [trial["number"] for trial in tuned.trials] == list(range(TRIALS))
    assert {trial["state"] for trial in tuned.trials} <= FINISHED
    assert [done for done, _, _ in heard] == list(range(1, TRIALS + 1))
    assert heard[-1] == (TRIALS, TRIALS, tuned.score)
    assert tuned.score == max(t["score"] for t in tuned.trials if t["state"] == "COMPLETE") > 0.7
    assert tuned.window in (2, 4)
    assert set(tuned.parameters) == set(SEARCH_SPACE)
    assert all(trial["seconds"] > 0 for trial in tuned.trials)
    assert XGBoostTrainer().train(spec(), rows, tuned).parameters == {**tuned.parameters, "window": tuned.window}


def test_a_finished_study_gives_the_same_answer_without_work(rows: LabelledRows, tmp_path: Path) -> None:
    first = OptunaTuner(tmp_path).tune(spec(trials=3), "s", rows, None)
    size = (tmp_path / "optuna" / "toy.journal").stat().st_size
    assert OptunaTuner(tmp_path).tune(spec(trials=3), "s", rows, None) == first
    assert (tmp_path / "optuna" / "toy.journal").stat().st_size - size < 1_000


def test_the_same_seed_gives_the_same_trials(rows: LabelledRows, tmp_path: Path) -> None:
    def outcome(home: str) -> list[tuple[Any, ...]]:
        tuned = OptunaTuner(tmp_path / home).tune(spec(), "s", rows, None)
        return [(t["state"], t["score"], t["window"], t["parameters"]) for t in tuned.trials]

    assert outcome("one") == outcome("two")


def test_a_trial_left_running_is_failed_and_tried_once_more(rows: LabelledRows, tmp_path: Path) -> None:
    tuner = OptunaTuner(tmp_path)
    objective = Objective(spec(), rows)
    (tmp_path / "optuna").mkdir()
    study = tuner._open(spec(), "s", objective.fingerprint())
    study.enqueue_trial({"max_depth": 5})
    left = study.ask()
    left.suggest_int("max_depth", 2, 8)
    tuned = tuner.tune(spec(), "s", rows, None)
    assert stored_states(tmp_path, "s").count("RUNNING") == 0
    assert sum(state in FINISHED for state in stored_states(tmp_path, "s")) == TRIALS
    assert tuned.trials[0]["state"] == "FAIL"
    assert "killed" in tuned.trials[0]["reason"]
    assert [trial["parameters"]["max_depth"] for trial in tuned.trials][:2] == [5, 5]


KILLED_STUDY = """
import os, pathlib, signal, sys, threading
sys.path[:0] = [{tests!r}]
import test_optuna_search as t
from selfheal_assets.adapters.optuna_search import OptunaTuner

def progress(done, total, best):
    if done == 2:
        threading.Timer(0.03, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()

OptunaTuner(pathlib.Path({home!r}), progress).tune(t.slow_spec(), "s", t.slow_rows(), {{"max_depth": 4, "window": 4}})
"""


def slow_spec() -> ModelSpec:
    return spec(max_boost_rounds=200, early_stopping_rounds=200)


def slow_rows() -> LabelledRows:
    return labelled([2.0] * 4, size=800)


def test_a_study_killed_in_the_middle_is_finished(tmp_path: Path) -> None:
    script = KILLED_STUDY.format(tests=str(Path(__file__).parent), home=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert stored_states(tmp_path, "s") == ["COMPLETE", "COMPLETE", "RUNNING"]
    tuned = OptunaTuner(tmp_path).tune(slow_spec(), "s", slow_rows(), {"max_depth": 4, "window": 4})
    assert len(tuned.trials) == TRIALS
    assert [trial["state"] for trial in tuned.trials[:3]] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert sum(state in FINISHED for state in stored_states(tmp_path, "s")) == TRIALS
    drawn = [tuple(trial["parameters"].values()) for trial in tuned.trials if trial["number"] not in (2, 3)]
    assert len(set(drawn)) == len(drawn), "a resumed sampler must not repeat the first trials"


def test_a_torn_last_line_does_not_spoil_the_journal(rows: LabelledRows, tmp_path: Path) -> None:
    OptunaTuner(tmp_path).tune(spec(trials=2), "s", rows, None)
    journal = tmp_path / "optuna" / "toy.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":5,"wor')
    assert len(OptunaTuner(tmp_path).tune(spec(trials=2), "t", rows, None).trials) == 2
    assert sorted(set(stored_states(tmp_path, "s"))) == ["COMPLETE"]


def test_an_unreadable_journal_is_refused_in_our_words(rows: LabelledRows, tmp_path: Path) -> None:
    (tmp_path / "optuna").mkdir()
    (tmp_path / "optuna" / "toy.journal").write_bytes(b"noise\nnoise\n")
    with pytest.raises(TrainingError, match="journal must be readable"):
        OptunaTuner(tmp_path).tune(spec(), "s", rows, None)


def test_old_batches_that_contradict_the_new_ones_are_left_out(tmp_path: Path) -> None:
    contradicting = labelled([-2.0] * 6 + [2.0] * 2)
    tuned = OptunaTuner(tmp_path).tune(spec(windows=(2, 8), trials=8), "s", contradicting, None)
    assert tuned.window == 2
    best = {
        window: max((t["score"] for t in tuned.trials if t["window"] == window and t["score"]), default=0)
        for window in (2, 8)
    }
    assert best[2] > best[8] + 0.1


def test_old_batches_that_agree_are_used(tmp_path: Path) -> None:
    agreeing = labelled([1.0] * 10, size=800)
    settings = spec(windows=(1, 10), trials=10, max_boost_rounds=60)
    tuned = OptunaTuner(tmp_path).tune(settings, "s", agreeing, None)
    assert {trial["window"] for trial in tuned.trials} == {1, 10}
    assert tuned.window == 10


def test_every_window_is_judged_on_the_same_later_rows() -> None:
    rows = labelled([1.0] * 5)
    shuffled = np.random.default_rng(0).permutation(len(rows.label))
    mixed = LabelledRows(
        features=rows.features.iloc[shuffled],
        label=rows.label[shuffled],
        event_id=rows.event_id[shuffled],
        batch_id=rows.batch_id[shuffled],
        event_time=rows.event_time[shuffled],
    )
    objective = Objective(spec(windows=(2, 4, 9)), mixed)
    assert objective.windows == (2, 4)
    assert len(objective.validation) == 150
    assert mixed.event_time[objective.validation].min() > np.sort(rows.event_time)[-151]
    for window, size in ((2, 450), (4, 1050)):
        training = objective.training(window)
        assert len(training) == size
        assert mixed.event_time[training].max() < mixed.event_time[objective.validation].min()


def test_an_event_in_both_parts_is_refused(rows: LabelledRows) -> None:
    repeated = rows.event_id.copy()
    repeated[-1] = repeated[-600]
    objective = Objective(spec(), dataclasses.replace(rows, event_id=repeated))
    with pytest.raises(TrainingError, match="an event must be in one batch only"):
        objective.training(2)


def test_all_batches_are_the_window_when_none_can_be_filled(tmp_path: Path) -> None:
    tuned = OptunaTuner(tmp_path).tune(spec(windows=(5, 9), trials=2), "s", labelled([2.0] * 3), {"window": 9})
    assert {trial["window"] for trial in tuned.trials} == {3}


def test_hopeless_trials_are_pruned(rows: LabelledRows, tmp_path: Path) -> None:
    tuned = OptunaTuner(tmp_path).tune(spec(trials=14, max_boost_rounds=60), "s", rows, None)
    pruned = [trial for trial in tuned.trials if trial["state"] == "PRUNED"]
    assert 0 < len(pruned) < 14
    assert tuned.score > max(trial["score"] for trial in pruned)


def test_the_champion_is_tried_first_inside_the_ranges(rows: LabelledRows, tmp_path: Path) -> None:
    champion = {"learning_rate": 5.0, "max_depth": 40, "gamma": float("nan"), "window": 3, "objective": "else"}
    tuned = OptunaTuner(tmp_path).tune(spec(trials=2), "s", rows, champion)
    first = tuned.trials[0]
    assert (first["parameters"]["learning_rate"], first["parameters"]["max_depth"]) == (0.3, 8)
    assert first["window"] == 2
    assert 1e-4 <= first["parameters"]["gamma"] <= 2.0


@pytest.mark.parametrize("metric", ["average_precision", "log_loss"])
def test_other_metrics_are_searched_in_their_own_direction(rows: LabelledRows, tmp_path: Path, metric: Any) -> None:
    settings = dataclasses.replace(spec(trials=4), performance=PerformanceSpec(metric=metric))
    tuned = OptunaTuner(tmp_path).tune(settings, "s", rows, None)
    scores = [trial["score"] for trial in tuned.trials if trial["state"] == "COMPLETE"]
    assert tuned.score == (min(scores) if metric == "log_loss" else max(scores))


def test_the_time_bound_holds_over_resumptions(rows: LabelledRows, tmp_path: Path) -> None:
    hurried = spec(trials=50, timeout_seconds=0.05)
    first = OptunaTuner(tmp_path).tune(hurried, "s", rows, None)
    again = OptunaTuner(tmp_path).tune(hurried, "s", rows, None)
    assert 1 <= len(first.trials) <= len(again.trials) < 10


def test_the_same_name_with_other_rows_begins_again(rows: LabelledRows, tmp_path: Path) -> None:
    OptunaTuner(tmp_path).tune(spec(trials=3), "s", rows, None)
    other = OptunaTuner(tmp_path).tune(spec(trials=2), "s", labelled([2.0] * 4, seed=5), None)
    assert len(other.trials) == 2


def test_when_every_trial_fails_the_first_reason_is_told(rows: LabelledRows, tmp_path: Path, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the booster is out of order")

    monkeypatch.setattr(tuning_objective, "boost", broken)
    with pytest.raises(TrainingError, match=r"received 3 .*for this reason: RuntimeError: the booster is out of order"):
        OptunaTuner(tmp_path).tune(spec(trials=3), "s", rows, None)


def test_rows_that_cannot_be_learned_from_are_refused(rows: LabelledRows, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least 400 labelled rows"):
        OptunaTuner(tmp_path).tune(spec(), "s", labelled([1.0], size=200), None)
    with pytest.raises(TrainingError, match="validation rows of the tuning"):
        OptunaTuner(tmp_path).tune(spec(), "s", dataclasses.replace(rows, label=np.ones(1200)), None)


def test_a_second_process_must_wait(rows: LabelledRows, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "optuna").mkdir()
    with (
        FileLock(tmp_path / "optuna" / "toy.tuning.lock"),
        pytest.raises(TrainingError, match="one process at a time tunes a model"),
    ):
        OptunaTuner(tmp_path).tune(spec(timeout_seconds=0.2), "s", rows, None)
