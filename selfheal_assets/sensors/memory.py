"""Ask Kubernetes for the memory that a run needs: its failures for want of it in; tags and config of the next out."""

import json
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from selfheal_assets.core.failures import MAX_ATTEMPTS
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.resources import enlarged
from selfheal_assets.stages.pod_resources import K8S_TAG, container, step_names

LAUNCHER = "K8sRunLauncher"
EXECUTOR = "k8s"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Empty where nothing more is asked for."""

    tags: dict[str, str] = field(default_factory=dict)
    """For the pod of the run."""
    run_config: dict[str, Any] = field(default_factory=dict)
    """For the pods of its steps, where they have pods of their own: those do not look at the run's tags."""


def more_memory(context: dg.SensorEvaluationContext, job_name: str, times: int) -> Memory:
    """Twice the launcher's memory limit after one run that ran out of it, four times after two.

    Nothing without the Kubernetes launcher, and where it declares no limit: then none was met.
    """
    launcher = _launcher(context.instance_ref) if times else None
    larger = enlarged(_limit(launcher.config_dict), 2 ** min(times, MAX_ATTEMPTS)) if launcher else None
    if larger is None:
        return Memory()
    own = {"container_config": {"resources": {"limits": {"memory": larger}}}}
    steps = {"execution": {"config": {"step_k8s_config": own}}} if _in_pods(context, job_name) else {}
    return Memory(tags={K8S_TAG: json.dumps(own)}, run_config=steps)


def training_memory(context: dg.SensorEvaluationContext, spec: ModelSpec, job_name: str, times: int) -> Memory:
    """What `training.resources` declares, grown by the failures; `more_memory` where it declares nothing.

    Steps with pods of their own carry what is declared in tags of the op, which only their own config overrides.
    """
    own = container(spec, times)
    if not own or _launcher(context.instance_ref) is None:
        return more_memory(context, job_name, times)
    if not _in_pods(context, job_name):
        return Memory(tags={K8S_TAG: json.dumps(own)})
    steps = dict.fromkeys(step_names(spec), own)
    return Memory(run_config={"execution": {"config": {"per_step_k8s_config": steps}}} if times else {})


def on_kubernetes(instance: dg.DagsterInstance) -> bool:
    """Whether runs are launched there."""
    return instance.is_persistent and _launcher(instance.get_ref()) is not None


def _launcher(instance: Any) -> Any:
    """The launcher's own words in the instance; None for any but that of Kubernetes."""
    launcher = instance.run_launcher_data if instance else None
    return launcher if launcher is not None and launcher.class_name == LAUNCHER else None


def _in_pods(context: dg.SensorEvaluationContext, job_name: str) -> bool:
    repository = context.repository_def
    return repository is not None and repository.get_job(job_name).executor_def.name == EXECUTOR


def _limit(config: Any) -> object:
    for name in ("run_k8s_config", "container_config", "resources", "limits", "memory"):
        config = config.get(name) if isinstance(config, dict) else None
    return config
