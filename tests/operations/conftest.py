"""A home as `selfheal init` leaves it, but for MLflow and Feast, with a model's life in its ledger."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from brain import Life
from kept_home import Home

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.operations.home import INSTANCE
from selfheal_assets.project import MODELS, PROJECT

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")


@pytest.fixture(scope="session")
def empty_dagster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated Dagster home without a run, to be copied."""
    from dagster import DagsterInstance

    folder = tmp_path_factory.mktemp("dagster")
    shutil.copyfile(INSTANCE, folder / "dagster.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        with DagsterInstance.from_config(str(folder)) as instance:
            instance.get_runs_count()
    return folder


@pytest.fixture
def kept(home: Path, empty_dagster: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    shutil.copytree(empty_dagster, home / "dagster")
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.setenv("SELFHEAL_USER", "ada")
    return Home(home)


@pytest.fixture
def begun() -> Callable[..., Life]:
    """A life of the declared model, with another policy if wanted, whose clock is some hours before the present."""

    def begin(hours_ago: float = 12.0, **policy: Any) -> Life:
        life = Life(replace(SPEC, policy=replace(SPEC.policy, **policy)))
        life.now = datetime.now(UTC) - timedelta(hours=hours_ago)
        return life

    return begin
