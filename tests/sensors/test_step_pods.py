"""What ended the pod of a step is asked of Kubernetes, by dagster-k8s's own client, and read as what it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client import (
    CoreV1EventList,
    V1ContainerState,
    V1ContainerStateTerminated,
    V1ContainerStatus,
    V1ObjectMeta,
    V1Pod,
    V1PodList,
    V1PodStatus,
)

from selfheal_assets.core.failures import FailureClass, classify
from selfheal_assets.sensors.step_pods import pod_words

MESSAGE = "Step x failed health check: Discovered failed Kubernetes job dagster-step-0a1b2c for step x."
CONFIG = {"service_account_name": "a", "instance_config_map": "i", "job_namespace": "selfheal"}


class Core:
    """Of the core API what the client asks for."""

    def __init__(self, reason: str, exit_code: int) -> None:
        ended = V1ContainerStateTerminated(exit_code=exit_code, reason=reason)
        status = V1ContainerStatus(
            name="dagster",
            image="i",
            image_id="i",
            ready=False,
            restart_count=0,
            state=V1ContainerState(terminated=ended),
        )
        self.pod = V1Pod(
            metadata=V1ObjectMeta(name="dagster-step-0a1b2c-x"),
            status=V1PodStatus(phase="Failed", container_statuses=[status]),
        )
        self.asked: list[dict[str, Any]] = []

    def list_namespaced_pod(self, **asked: Any) -> V1PodList:
        self.asked.append(asked)
        return V1PodList(items=[self.pod])

    def list_namespaced_event(self, *_: Any, **__: Any) -> CoreV1EventList:
        return CoreV1EventList(items=[])


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setattr("dagster_k8s.launcher.load_kubernetes_config", lambda **_: None)
    launcher = {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": CONFIG}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as made:
        yield made


def asks(monkeypatch: pytest.MonkeyPatch, core: object) -> None:
    client = DagsterKubernetesClient.production_client(core_api_override=core, batch_api_override=object())
    monkeypatch.setattr(DagsterKubernetesClient, "production_client", staticmethod(lambda **_: client))


def test_a_step_that_was_killed_for_memory_says_so(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Core("OOMKilled", 137)
    asks(monkeypatch, core)
    words = pod_words(instance, MESSAGE)
    assert "Terminated with exit code 137: OOMKilled" in words
    assert classify([("", words), ("", MESSAGE)]) is FailureClass.OUT_OF_MEMORY
    assert core.asked[0]["namespace"] == "selfheal"
    assert "dagster-step-0a1b2c" in core.asked[0]["label_selector"]


def test_another_end_is_told_and_is_not_taken_for_that(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks(monkeypatch, Core("Error", 1))
    words = pod_words(instance, MESSAGE)
    assert "exit code 1: Error" in words
    assert classify([("", words), ("", MESSAGE)]) is FailureClass.TRANSIENT


def test_without_an_answer_the_failure_stands_as_it_is(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks(monkeypatch, object())
    words = pod_words(instance, MESSAGE)
    assert words.startswith("what ended its pod is not known: AttributeError")
    assert pod_words(instance, "ValueError: no number") == ""


def test_nobody_is_asked_where_kubernetes_runs_nothing(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as local:
        assert pod_words(local, MESSAGE) == ""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        assert pod_words(ephemeral, MESSAGE) == ""
