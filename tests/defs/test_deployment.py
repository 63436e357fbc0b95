"""The instance files are what Dagster and dagster-k8s accept, and the environment chooses the executor."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, validate_config
from dagster._core.instance.config import dagster_instance_config_schema
from failing_runs import SPEC
from manifests import SECRETS, pod_problems
from object_schemas import SUPPORTED, problems

from selfheal_assets.components.self_healing_model import model_definitions
from selfheal_assets.core.errors import ServingError, SpecError
from selfheal_assets.settings import settings_from_environment
from selfheal_assets.stages.pod_resources import K8S_TAG, in_own_pod, step_names
from selfheal_assets.stages.pod_resources import container as container_of
from selfheal_assets.wiring import Services, executor, resources

FILES = sorted((Path(__file__).resolve().parents[2] / "deployment" / "dagster").glob("*.yaml"))
ENVIRONMENT = (
    "DAGSTER_POSTGRES_HOST",
    "DAGSTER_POSTGRES_USER",
    "DAGSTER_PG_PASSWORD",
    "DAGSTER_POSTGRES_DB",
    "SELFHEAL_SERVICE_ACCOUNT",
    "SELFHEAL_NAMESPACE",
    "SELFHEAL_IMAGE",
    "SELFHEAL_INSTANCE_CONFIG_MAP",
    "SELFHEAL_ENVIRONMENT_CONFIG_MAP",
    "SELFHEAL_COMPUTE_LOGS",
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


def job_of_a_run(monkeypatch: pytest.MonkeyPatch, op_tags: dict[str, Any]) -> dict[str, Any]:
    """What the launcher, and for a step the executor, would have Kubernetes make."""
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job, get_user_defined_k8s_config
    from kubernetes.client import ApiClient

    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "a-value")
    monkeypatch.setenv("SELFHEAL_IMAGE", "selfheal:0.1.0")
    monkeypatch.setattr("dagster_k8s.launcher.load_kubernetes_config", lambda **_: None)
    config = process_config(K8sRunLauncher.config_type(), content(FILES[1])["run_launcher"]["config"]).value
    launcher = K8sRunLauncher.from_config_value(None, config)
    run = dg.DagsterRun(job_name="payments_retrain")
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=False)
    context = context.merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(op_tags)))
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(None, launcher),
        ["dagster", "api", "execute_run"],
        "dagster-run-1",
        user_defined_k8s_config=context.run_k8s_config,
        component="step_worker",
    )
    made = ApiClient().sanitize_for_serialization(job)
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize("version", SUPPORTED)
def test_kubernetes_takes_the_job_of_a_run_and_it_keeps_the_rules(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    made = job_of_a_run(monkeypatch, {})
    assert problems(made, version) == []
    pod = made["spec"]["template"]["spec"]
    assert list(pod_problems(pod)) == []
    assert made["spec"]["ttlSecondsAfterFinished"] == 86_400
    (container,) = pod["containers"]
    password = next(v for v in container["env"] if v["name"] == "DAGSTER_PG_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"]["key"] in SECRETS["selfheal-dagster-postgres"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_a_step_gets_what_the_model_declares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    declared = {"cpu": 2, "memory": "6Gi", "max_memory": "16Gi"}
    model = replace(SPEC, training=replace(SPEC.training, resources=declared))
    tags = in_own_pod(model)["op_tags"]
    made = job_of_a_run(monkeypatch, {name: json.dumps(value) for name, value in tags.items()})
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {"memory": "6Gi"}}
    assert problems(made, SUPPORTED[-1]) == []
    assert in_own_pod(SPEC) == {}
    own = dg.Definitions(resources=resources(Services(tmp_path)))
    defined = dg.Definitions.merge(model_definitions(model), own).resolve_job_def("payments_retrain")
    for step in step_names(model):
        assert json.loads(defined.graph.node_named(step).definition.tags[K8S_TAG]) == container_of(model)


def test_the_environment_chooses_who_keeps_the_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SELFHEAL_SERVING", raising=False)
    assert type(Services(tmp_path).serving).__name__ == "LocalServers"
    with pytest.raises(SpecError, match="needs SELFHEAL_SERVING=kubernetes"):
        _ = Services(tmp_path).releases
    monkeypatch.setenv("SELFHEAL_SERVING", "kubernetes")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ServingError, match="needs a service account or a kubeconfig"):
        _ = Services(tmp_path, settings=settings_from_environment()).serving
    monkeypatch.setenv("SELFHEAL_SERVING", "docker")
    with pytest.raises(SpecError, match="SELFHEAL_SERVING: Input should be 'local' or 'kubernetes'"):
        settings_from_environment()


def test_the_environment_chooses_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SELFHEAL_EXECUTOR", raising=False)
    assert executor().name == "in_process"
    monkeypatch.setenv("SELFHEAL_EXECUTOR", "k8s_job")
    assert executor().name == "k8s"
    monkeypatch.setenv("SELFHEAL_EXECUTOR", "threads")
    with pytest.raises(SpecError, match="SELFHEAL_EXECUTOR: Input should be 'in_process' or 'k8s_job'"):
        executor()
