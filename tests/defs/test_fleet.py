"""Twenty declared models in one location: all load, each of their jobs is its own model's, and none has a mistake."""

import sys
from pathlib import Path

import dagster as dg
import pytest
from conftest import ROOT
from dagster._core.definitions.repository_definition import RepositoryDefinition

from selfheal_assets.operations.models import mistakes
from selfheal_assets.stages.identity import MODEL_TAG
from selfheal_assets.wiring import Services

sys.path.append(str(ROOT / "benchmarks"))
from fleet_world import names, write_fleet

MODELS = 20


@pytest.fixture
def overlay(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = write_fleet(tmp_path / "overlay", MODELS)
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.setenv("SELFHEAL_OVERLAYS", str(root))
    return root


@pytest.fixture
def repository(overlay: Path) -> RepositoryDefinition:
    from selfheal_assets.definitions import defs

    assert overlay.is_dir()
    repository = defs().get_repository_def()
    repository.load_all_definitions()
    return repository


def test_every_model_has_its_sensors_jobs_and_assets(repository: RepositoryDefinition) -> None:
    models = {*names(MODELS), "payments"}
    assert {key.path[0] for key in repository.asset_graph.get_all_asset_keys()} == models
    assert len(list(repository.sensor_defs)) == 8 * len(models) + 1
    for job in repository.get_all_jobs():
        if job.name.startswith("__") or job.tags[MODEL_TAG] == "*":
            continue
        keys = job.asset_layer.executable_asset_keys
        assert {key.path[0] for key in keys} <= {job.tags[MODEL_TAG]}
    assert repository.get_job("fleet_0007_ingest").asset_layer.executable_asset_keys == {
        dg.AssetKey(["fleet_0007", *key.path[1:]])
        for key in repository.get_job("payments_ingest").asset_layer.executable_asset_keys
    }


def test_a_job_is_what_dagster_would_resolve(repository: RepositoryDefinition) -> None:
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.project import MODELS as FOLDER
    from selfheal_assets.project import PROJECT
    from selfheal_assets.stages import jobs

    own = jobs.retrain(load_spec(PROJECT / FOLDER / "payments" / "defs.yaml"))
    plain = dg.define_asset_job(own.name, own.selection, description=own.description, tags=own.tags)
    ours, theirs = (each.resolve(asset_graph=repository.asset_graph) for each in (own, plain))
    assert ours.get_job_snapshot_id() == theirs.get_job_snapshot_id()


def test_none_has_a_mistake(overlay: Path, home: Path) -> None:
    found = mistakes(Services(home, roots=(ROOT, overlay)))
    assert len(found) == MODELS + 1
    assert {path: problems for path, problems in found.items() if problems} == {}
