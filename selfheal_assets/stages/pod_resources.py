"""Tag the steps of a training with what their pods are given, where each has its own. Read by dagster-k8s alone."""

from typing import Any

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.resources import pod_resources

K8S_TAG = "dagster-k8s/config"
"""dagster-k8s's own name: of a run for its pod, of an op for the pod of its step."""
STEPS = ("training_set", "tuned_parameters", "candidate_model", "validation_report")
"""Those that hold the training rows in memory."""


def container(spec: ModelSpec, times: int = 0) -> dict[str, Any]:
    """The container of a training pod after so many runs that ran out of memory; empty where nothing is declared."""
    resources = pod_resources(spec.training.resources, times)
    return {"container_config": {"resources": resources}} if resources else {}


def in_own_pod(spec: ModelSpec) -> dict[str, Any]:
    """What `dg.asset` takes besides; nothing where nothing is declared."""
    own = container(spec)
    return {"op_tags": {K8S_TAG: own}} if own else {}


def step_names(spec: ModelSpec) -> tuple[str, ...]:
    """The ops of those assets."""
    return tuple(f"{spec.name}__{step}" for step in STEPS)
