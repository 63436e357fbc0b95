"""The instance files are what Dagster and dagster-k8s accept, and the environment chooses the executor."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config, validate_config
from dagster._core.instance.config import dagster_instance_config_schema

from selfheal_assets.core.errors import SpecError
from selfheal_assets.wiring import executor

FILES = sorted((Path(__file__).resolve().parents[2] / "deployment" / "dagster").glob("*.yaml"))
ENVIRONMENT = (
    "DAGSTER_POSTGRES_HOST",
    "DAGSTER_POSTGRES_USER",
    "DAGSTER_POSTGRES_PASSWORD",
    "DAGSTER_POSTGRES_DB",
    "SELFHEAL_SERVICE_ACCOUNT",
    "SELFHEAL_NAMESPACE",
    "SELFHEAL_IMAGE",
    "SELFHEAL_INSTANCE_CONFIG_MAP",
    "SELFHEAL_POSTGRES_SECRET",
)


def content(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dagster_accepts_the_instance_file(path: Path) -> None:
    found = validate_config(dagster_instance_config_schema(), content(path))
    assert found.success, found.errors


def test_there_are_three_instance_files() -> None:
    assert [path.stem for path in FILES] == ["local", "production", "services"]


def test_runs_in_production_are_launched_on_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_k8s import K8sRunLauncher

    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "a-value")
    launcher = content(FILES[1])["run_launcher"]
    assert (launcher["module"], launcher["class"]) == ("dagster_k8s", K8sRunLauncher.__name__)
    found = process_config(K8sRunLauncher.config_type(), launcher["config"])
    assert found.success, found.errors


def test_the_environment_chooses_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SELFHEAL_EXECUTOR", raising=False)
    assert executor().name == "in_process"
    monkeypatch.setenv("SELFHEAL_EXECUTOR", "k8s_job")
    assert executor().name == "k8s"
    monkeypatch.setenv("SELFHEAL_EXECUTOR", "threads")
    with pytest.raises(SpecError, match="SELFHEAL_EXECUTOR: Input should be 'in_process' or 'k8s_job'"):
        executor()
