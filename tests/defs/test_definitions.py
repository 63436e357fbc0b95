"""The code location: two models side by side, no key in common; cheap to import; accepted by Dagster's own check."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

from selfheal_assets.core.serving_spec import RolloutSpec
from selfheal_assets.project import PROJECT

ELECTRICITY = PROJECT / "examples" / "electricity"
HEAVY = (
    "alibi_detect",
    "feast",
    "great_expectations",
    "mlflow",
    "optuna",
    "sklearn",
    "transformers",
    "xgboost",
)
ASSETS = {
    "raw_batch",
    "clean_batch",
    "quarantined_batch",
    "features",
    "labels",
    "drift_report",
    "predictions",
    "performance_report",
    "training_set",
    "tuned_parameters",
    "candidate_model",
    "validation_report",
    "rollout",
    "champion_model",
    "reference_data",
    "incident_report",
}
"""DESIGN.md, section 5."""


@pytest.fixture
def repository(home: Path, monkeypatch: pytest.MonkeyPatch) -> dg.RepositoryDefinition:
    """What Dagster loads with the example beside the project's own model."""
    if not (ELECTRICITY / "dbt_like_checks" / "electricity.yml").is_file():
        pytest.skip("the example has no checks file yet")
    from selfheal_assets.definitions import defs

    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.setenv("SELFHEAL_OVERLAYS", str(ELECTRICITY))
    return defs().get_repository_def()


def of_model(repository: dg.RepositoryDefinition, name: str) -> dict[str, set[str]]:
    """Everything of the model that Dagster knows by a key or a name."""
    graph = repository.asset_graph
    keys = {key for key in graph.get_all_asset_keys() if key.path[0] == name}
    partitions = {graph.get(key).partitions_def for key in keys}
    return {
        "assets": {"/".join(key.path[1:]) for key in keys},
        "groups": {str(graph.get(key).group_name) for key in keys},
        "checks": {key.name for key in graph.asset_check_keys if key.asset_key in keys},
        "partitions": {str(p.name) for p in partitions if isinstance(p, dg.DynamicPartitionsDefinition)},
        "sensors": {sensor.name for sensor in repository.sensor_defs if sensor.name.startswith(f"{name}_")},
        "jobs": {job.name for job in repository.get_all_jobs() if job.name.startswith(f"{name}_")},
    }


@pytest.mark.parametrize("name", ["payments", "electricity"])
def test_a_model_has_all_of_its_parts(repository: dg.RepositoryDefinition, name: str) -> None:
    found = of_model(repository, name)
    assert found["assets"] == ASSETS
    assert found["groups"] == {name}
    assert len(found["partitions"]) == 1
    sensors = (
        *("arrivals", "labels", "quality_sensor", "drift_sensor", "failures"),
        *("serving_sensor", "rollout_sensor", "watchdog"),
    )
    assert {f"{name}_{sensor}" for sensor in sensors} == found["sensors"]
    assert {f"{name}_{job}" for job in ("ingest", "labels", "retrain", "release_quarantine")} <= found["jobs"]
    assert len(found["checks"]) > 8


@pytest.mark.parametrize("name", ["payments", "electricity"])
def test_jobs_over_batches_are_partitioned_by_them(repository: dg.RepositoryDefinition, name: str) -> None:
    (partitions,) = of_model(repository, name)["partitions"]
    jobs = {job: repository.get_job(f"{name}_{job}").partitions_def for job in ("ingest", "release_quarantine")}
    assert [getattr(defined, "name", None) for defined in jobs.values()] == [partitions] * 2
    assert repository.get_job(f"{name}_retrain").partitions_def is None


def test_two_models_have_nothing_in_common(repository: dg.RepositoryDefinition) -> None:
    payments, electricity = (of_model(repository, name) for name in ("payments", "electricity"))
    for kind in ("groups", "partitions", "sensors", "jobs"):
        assert payments[kind].isdisjoint(electricity[kind]), kind
    whole = {"/".join(key.path) for key in repository.asset_graph.get_all_asset_keys()}
    assert len(whole) == 2 * len(ASSETS), "every asset is of one model"
    others = {sensor.name for sensor in repository.sensor_defs} - payments["sensors"] - electricity["sensors"]
    assert others == {"selfheal_notifications"}, "one for the code location"


def test_no_asset_of_one_model_depends_on_the_other(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    for key in graph.get_all_asset_keys():
        assert {parent.path[0] for parent in graph.get(key).parent_keys} <= {key.path[0]}, key


def test_sensors_watch_by_themselves(repository: dg.RepositoryDefinition) -> None:
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING, sensor.name
        # The daemon's loop is 5 s: with a longer interval every second loop is left out (FACTS: Dagster, latency).
        assert sensor.minimum_interval_seconds is not None
        watchdog = sensor.name.endswith("_watchdog")
        assert sensor.minimum_interval_seconds == 30 if watchdog else 0 < sensor.minimum_interval_seconds <= 4
        assert sensor.description


def test_assets_tell_their_model(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.owners, key
        assert node.description, key
        assert node.kinds, key
        assert node.code_version, key


def test_the_gate_is_blocking(repository: dg.RepositoryDefinition) -> None:
    for model in ("payments", "electricity"):
        report = dg.AssetKey([model, "validation_report"])
        checks = [key for key in repository.asset_graph.asset_check_keys if key.asset_key == report]
        assert checks
        assert all(repository.asset_graph.get(check).blocking for check in checks)


IMPORT = """
import json, sys, time
started = time.process_time()
import selfheal_assets.definitions
imported = time.process_time()
selfheal_assets.definitions.defs()
ended = time.process_time()
print(json.dumps({"seconds": ended - started, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""
Ran = Callable[..., str]


@pytest.fixture
def ran(home: Path) -> Ran:
    """Runs a command of this Python in the project's folder, with a home of its own; its output."""

    def run(*arguments: str) -> str:
        (home / "dagster").mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "SELFHEAL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


def test_loading_is_cheap_and_pulls_in_nothing_heavy(ran: Ran) -> None:
    """Every run and every daemon pays for it. Processor time, of the better of two: others use this machine too."""
    found = [json.loads(ran("-W", "ignore", "-c", IMPORT)) for _ in range(2)]
    assert set(HEAVY).isdisjoint(found[0]["modules"])
    assert "dagster" in found[0]["modules"]
    assert min(one["seconds"] for one in found) < 3.0


def test_dagster_accepts_the_code_location(ran: Ran) -> None:
    ran("-m", "dagster", "definitions", "validate", "-w", "workspace.yaml")


@pytest.mark.parametrize("over", ["none", "requests", "batches"])
def test_a_rollout_stands_between_the_judgement_and_the_champion(over: str) -> None:
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.components.self_healing_model import model_definitions
    from selfheal_assets.project import MODELS
    from selfheal_assets.wiring import Services, resources

    payments = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
    spec = replace(payments, rollout=RolloutSpec(over=cast("Any", over)))
    with_resources = dg.Definitions(resources=resources(Services(Path("nowhere"))))
    found = dg.Definitions.merge(model_definitions(spec), with_resources).get_repository_def()
    parents = found.asset_graph.get(dg.AssetKey(["payments", "champion_model"])).parent_keys
    before = "validation_report" if over == "none" else "rollout"
    assert parents == {dg.AssetKey(["payments", before])}
    extra = {"payments_rollout_sensor", "payments_rollout", "rollout"} if over != "none" else set()
    jobs = {job.name for job in found.get_all_jobs()}
    names = {sensor.name for sensor in found.sensor_defs} | jobs | of_model(found, "payments")["assets"]
    assert {name for name in names if "rollout" in name} == extra
    if over != "none":
        sensor = found.get_sensor_def("payments_rollout_sensor")
        assert 0 < (sensor.minimum_interval_seconds or 0) <= 4
        released = {"payments__rollout", "payments__champion_model", "payments__reference_data"}
        for job in ("payments_rollout", "payments_retrain"):
            assert {node.name for node in found.get_job(job).nodes} >= released
