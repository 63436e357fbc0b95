"""The registry on real MLflow over SQLite: idempotent registration, repair after a kill, guarded aliases."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from selfheal_assets.adapters.mlflow_registry import MlflowRegistry
from selfheal_assets.adapters.xgboost_trainer import XGBoostModel, XGBoostTrainer
from selfheal_assets.core.errors import AliasConflictError, RegistryError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.ports import Candidate, LabelledRows, TunedParameters


def spec(name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        description="A learnable toy.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="toy", categorical=("device",)),
        training=TrainingSpec(min_rows=200, max_boost_rounds=5),
    )


def features(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    device = pd.Series(rng.choice(["a", "b"], n), dtype="string").mask(rng.random(n) < 0.1)
    return pd.DataFrame({"amount": rng.normal(size=n), "device": device})


def trained() -> XGBoostModel:
    frame = features()
    rows = LabelledRows(
        features=frame,
        label=(frame["amount"] > 0).astype(int).to_numpy(),
        event_id=np.arange(300),
        batch_id=np.repeat("b0", 300),
        event_time=np.datetime64("2026-01-01", "us") + np.arange(300),
    )
    return XGBoostTrainer().train(spec("toy"), rows, TunedParameters(parameters={"max_depth": 2}, window=1, score=1.0))


def candidate(decision_id: str, **changes: Any) -> Candidate:
    whole = Candidate(
        decision_id=decision_id,
        parameters={"max_depth": 2, "window": 1},
        metrics={"roc_auc": 0.91},
        batch_ids=("b0",),
        data_hash="abc123",
        sample=features(5),
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("home with space")
    registry_of(folder).initialise(["toy"])
    return folder


@pytest.fixture(autouse=True)
def _no_global_mlflow_state(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    monkeypatch.chdir(home)
    yield
    while mlflow.active_run():
        mlflow.end_run()


def registry_of(home: Path) -> MlflowRegistry:
    return MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


@pytest.fixture
def registry(home: Path) -> MlflowRegistry:
    return registry_of(home)


@pytest.fixture
def client(home: Path) -> MlflowClient:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="module")
def model() -> XGBoostModel:
    return trained()


def assert_whole(home: Path, model: XGBoostModel, name: str, decision_id: str) -> None:
    """Exactly one version, which is the challenger and scores; nothing of the decision is left open."""
    registry = registry_of(home)
    (version,) = registry.versions(name)
    assert version.tags["decision_id"] == decision_id
    assert version.tags["registration"] == "complete"
    assert registry.by_alias(name, "challenger") == version
    np.testing.assert_allclose(registry.load(version).score(features()), model.score(features()))
    client = registry._client()
    experiment = client.get_experiment_by_name(name).experiment_id
    runs = client.search_runs([experiment])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    assert client.get_run(version.run_id).info.status == "FINISHED"
    (logged,) = client.search_logged_models([experiment], filter_string=f"source_run_id = '{version.run_id}'")
    assert logged.status == "READY"
    assert client.get_model_version(name, version.version).source == f"models:/{logged.model_id}"


def test_a_version_carries_everything(
    registry: MlflowRegistry, client: MlflowClient, model: XGBoostModel, home: Path
) -> None:
    version = registry.register(spec("whole"), model, candidate("retrain-1"))
    assert version.aliases == ("challenger",)
    assert version.tags["metric.roc_auc"] == "0.91"
    assert json.loads(version.tags["batch_ids"]) == ["b0"]
    assert version.created_at.tzinfo is not None
    assert_whole(home, model, "whole", "retrain-1")
    run = client.get_run(version.run_id)
    assert run.data.params == {"max_depth": "2", "window": "1"}
    assert run.data.metrics == {"roc_auc": 0.91}
    assert run.data.tags["data_hash"] == "abc123"
    assert Path(home, "artifacts").as_uri() in run.info.artifact_uri
    written = json.loads((registry.folder(version).parent / "candidate.json").read_text())
    assert written["batch_ids"] == ["b0"]
    flavour = mlflow.xgboost.load_model("models:/whole@challenger")
    assert flavour.get_dump() == model.booster.get_dump()
    signature = mlflow.models.get_model_info("models:/whole@challenger").signature
    assert signature.inputs.input_names() == ["amount", "device"]


def test_no_pickle_is_written(registry: MlflowRegistry, model: XGBoostModel, home: Path) -> None:
    registry.register(spec("no_pickle"), model, candidate("d"))
    written = {path.suffix for path in (home / "artifacts").rglob("*") if path.is_file()}
    assert ".ubj" in written
    assert not written & {".pkl", ".pickle", ".joblib", ".cloudpickle"}


def test_registering_twice_gives_one_version(registry: MlflowRegistry, model: XGBoostModel, home: Path) -> None:
    first = registry.register(spec("twice"), model, candidate("d"))
    registry.move_alias("twice", "champion", first.version, expected=None)
    again = registry_of(home).register(spec("twice"), model, candidate("d"))
    assert (again.version, again.run_id) == (first.version, first.run_id)
    assert again.aliases == ("challenger", "champion")
    second = registry.register(spec("twice"), model, candidate("other"))
    assert [v.version for v in registry.versions("twice")] == [second.version, first.version] == ["2", "1"]
    assert registry.by_alias("twice", "challenger") == second
    registry.register(spec("twice"), model, candidate("d"))
    assert registry.by_alias("twice", "challenger") == second, "a finished registration is not done again"


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the adapter catches it."""


STEPS = [
    ("create_run", "after"),
    ("log_batch", "after"),
    ("log_artifacts", "after"),
    ("create_logged_model", "after"),
    ("log_model_artifacts", "before"),
    ("log_model_artifacts", "after"),
    ("create_registered_model", "after"),
    ("create_model_version", "after"),
    ("set_terminated", "before"),
    ("set_registered_model_alias", "before"),
    ("set_registered_model_alias", "after"),
    ("set_model_version_tag", "before"),
]


@pytest.mark.parametrize(("step", "moment"), STEPS)
def test_a_registration_killed_anywhere_is_completed(
    model: XGBoostModel, home: Path, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    name = f"killed_{moment}_{step}"
    original = getattr(MlflowClient, step)

    def killed(self: MlflowClient, *args: Any, **kwargs: Any) -> None:
        if moment == "after":
            original(self, *args, **kwargs)
        raise Killed

    monkeypatch.setattr(MlflowClient, step, killed)
    with pytest.raises(Killed):
        registry_of(home).register(spec(name), model, candidate("d"))
    monkeypatch.setattr(MlflowClient, step, original)
    registry_of(home).register(spec(name), model, candidate("d"))
    assert_whole(home, model, name, "d")


REALLY_KILLED = """
import os, pathlib, signal, sys
sys.path[:0] = [{tests!r}]
import test_mlflow_registry as t
t.MlflowClient.create_registered_model = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
t.registry_of(pathlib.Path({home!r})).register(t.spec("really_killed"), t.trained(), t.candidate("d"))
"""


def test_a_process_killed_between_run_and_version_is_repaired(home: Path, model: XGBoostModel) -> None:
    script = REALLY_KILLED.format(tests=str(Path(__file__).parent), home=str(home))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert registry_of(home).versions("really_killed") == []
    registry_of(home).register(spec("really_killed"), model, candidate("d"))
    assert_whole(home, model, "really_killed", "d")


def test_an_error_of_the_store_is_translated_and_the_run_failed(
    registry: MlflowRegistry, client: MlflowClient, model: XGBoostModel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifacts", full)
        with pytest.raises(RegistryError, match=r"received decision d, and MLflow answered OSError.*No space left"):
            registry.register(spec("full_disk"), model, candidate("d"))
    experiment = client.get_experiment_by_name("full_disk").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]
    registry.register(spec("full_disk"), model, candidate("d"))
    assert_whole(home, model, "full_disk", "d")


def test_values_beyond_mlflow_s_limits_are_logged(
    registry: MlflowRegistry, client: MlflowClient, model: XGBoostModel
) -> None:
    many = {f"p{i}": i for i in range(150)} | {"long": "x" * 9_000, "odd name?!": 1, "none": None}
    ids = tuple(f"batch-{i:05d}" for i in range(2_000))
    version = registry.register(spec("limits"), model, candidate("d", parameters=many, batch_ids=ids))
    params = client.get_run(version.run_id).data.params
    assert len(params) == 153
    assert len(params["long"]) == 6_000
    assert params["odd name__"] == "1"
    assert version.tags["batch_ids"] == "2000: candidate.json"
    written = json.loads((registry.folder(version).parent / "candidate.json").read_text())
    assert written["batch_ids"] == list(ids)
    assert written["parameters"]["long"] == "x" * 9_000


def test_the_active_run_is_used_and_left_open(registry: MlflowRegistry, model: XGBoostModel, home: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    mlflow.set_experiment("toy")
    with mlflow.start_run() as run:
        first = registry.register(spec("active"), model, candidate("d1"))
        assert first.run_id == run.info.run_id
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert registry._client().get_run(run.info.run_id).info.status == "RUNNING"
        second = registry.register(spec("active"), model, candidate("d2"))
        assert second.run_id != run.info.run_id, "a run tells one decision's story"
        assert registry._client().get_run(second.run_id).info.status == "FINISHED"
    assert registry.load(first).parameters == model.parameters


def test_dagster_mlflow_s_run_carries_the_model(
    registry: MlflowRegistry, client: MlflowClient, model: XGBoostModel, home: Path
) -> None:
    import dagster as dg
    from dagster_mlflow import mlflow_tracking

    @dg.asset(required_resource_keys={"mlflow"})
    def candidate_model() -> str:
        return registry.register(spec("toy"), model, candidate("dagster-1")).version

    configured = mlflow_tracking.configured(
        {
            "experiment_name": "toy",
            "mlflow_tracking_uri": f"sqlite:///{home / 'mlflow.db'}",
            "env": {},
            "extra_tags": {},
        }
    )
    result = dg.materialize([candidate_model], resources={"mlflow": configured})
    version = registry.versions("toy")[0]
    assert version.version == result.output_for_node("candidate_model")
    run = client.get_run(version.run_id)
    assert run.data.tags["dagster_run_id"] == result.run_id
    assert run.data.tags["decision_id"] == "dagster-1"
    assert registry.folder(version).is_relative_to(home / "artifacts" / "toy")


def test_a_restarted_dagster_run_takes_over(
    registry: MlflowRegistry, client: MlflowClient, model: XGBoostModel, home: Path
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    mlflow.set_experiment("toy")
    orphan = client.create_run(client.get_experiment_by_name("toy").experiment_id, tags={"decision_id": "restarted"})
    with mlflow.start_run() as run:
        version = registry.register(spec("restarted"), model, candidate("restarted"))
    assert version.run_id == run.info.run_id
    assert client.get_run(orphan.info.run_id).info.status == "KILLED"


def test_moving_an_alias_compares_first(registry: MlflowRegistry, model: XGBoostModel) -> None:
    one, two = (registry.register(spec("aliases"), model, candidate(f"d{i}")).version for i in (1, 2))
    with pytest.raises(AliasConflictError, match=r"must be on version 2 .* is on none"):
        registry.move_alias("aliases", "champion", one, expected=two)
    registry.move_alias("aliases", "champion", one, expected=None)
    registry.move_alias("aliases", "champion", one, expected=None)
    with pytest.raises(AliasConflictError, match=r"must be on version none .* is on 1"):
        registry.move_alias("aliases", "champion", two, expected=None)
    registry.move_alias("aliases", "champion", two, expected=one)
    assert registry.by_alias("aliases", "champion").version == two
    with pytest.raises(RegistryError, match="version 99"):
        registry.move_alias("aliases", "champion", "99", expected=two)
    assert registry.by_alias("aliases", "champion").version == two


def test_of_two_movers_one_wins(registry: MlflowRegistry, model: XGBoostModel, home: Path) -> None:
    versions = [registry.register(spec("race"), model, candidate(f"d{i}")).version for i in range(4)]
    lost: list[AliasConflictError] = []

    def move(version: str) -> None:
        try:
            registry_of(home).move_alias("race", "champion", version, expected=None)
        except AliasConflictError as conflict:
            lost.append(conflict)

    threads = [threading.Thread(target=move, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == 3


def test_what_is_not_there_reads_as_nothing(registry: MlflowRegistry, model: XGBoostModel) -> None:
    assert registry.versions("never_registered") == []
    assert registry.by_alias("never_registered", "champion") is None
    registry.register(spec("present"), model, candidate("d"))
    assert registry.by_alias("present", "champion") is None


def test_tags_and_links(registry: MlflowRegistry, model: XGBoostModel, home: Path) -> None:
    version = registry.register(spec("tagged"), model, candidate("d"))
    registry.tag(version, {"promoted_at": "2026-01-01T00:00:00Z", "gate": "PASS"})
    assert registry.by_alias("tagged", "challenger").tags["gate"] == "PASS"
    assert registry.link(version).startswith((home / "artifacts" / "tagged").as_uri())


def test_lost_files_are_told(registry: MlflowRegistry, model: XGBoostModel, home: Path) -> None:
    version = registry.register(spec("lost"), model, candidate("d"))
    (registry.folder(version) / "feature_schema.json").unlink()
    with pytest.raises(RegistryError, match="the files of a registered version must be there"):
        registry_of(home).load(version)


def test_half_a_document_is_told(registry: MlflowRegistry, model: XGBoostModel) -> None:
    version = registry.register(spec("half"), model, candidate("d"))
    registry.keep(version, "probe", {"scores": [0.5]})
    (registry.folder(version) / "probe.json").write_text('{"scores": [0')
    with pytest.raises(RegistryError, match=r"a kept document must be a JSON object; received selfheal_model/probe"):
        registry.kept(version, "probe")


def test_a_database_that_was_never_made_is_refused(tmp_path: Path) -> None:
    absent = registry_of(tmp_path)
    with pytest.raises(RegistryError, match="Run `selfheal init`"):
        absent.versions("toy")
    assert not (tmp_path / "mlflow.db").exists()


def test_initialising_again_changes_nothing(home: Path) -> None:
    before = (home / "mlflow.db").stat()
    registry_of(home).initialise(["toy"])
    assert (home / "mlflow.db").stat().st_mtime_ns == before.st_mtime_ns
    assert not list(home.glob("mlflow.db.new*"))


def test_two_first_initialisations_make_one_database(tmp_path: Path) -> None:
    def first_use(model: str) -> None:
        registry_of(tmp_path).initialise([model])

    threads = [threading.Thread(target=first_use, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {experiment.name for experiment in registry_of(tmp_path)._client().search_experiments()}
    assert {"one", "two"} <= names, "the second must not replace the first one's database"


def test_telemetry_is_off() -> None:
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"]
    assert is_telemetry_disabled()
