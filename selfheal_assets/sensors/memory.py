"""Ask Kubernetes for more memory after runs that ran out of it: how many, in; tags and config of the next, out."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from selfheal_assets.core.failures import MAX_ATTEMPTS

K8S_TAG = "dagster-k8s/config"
LAUNCHER = "K8sRunLauncher"
EXECUTOR = "k8s"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([EPTGMk]|[EPTGMK]i)?")


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
    launcher = context.instance_ref.run_launcher_data if times and context.instance_ref else None
    if launcher is None or launcher.class_name != LAUNCHER:
        return Memory()
    larger = enlarged(_limit(launcher.config_dict), 2 ** min(times, MAX_ATTEMPTS))
    if larger is None:
        return Memory()
    container = {"container_config": {"resources": {"limits": {"memory": larger}}}}
    repository = context.repository_def
    in_pods = repository is not None and repository.get_job(job_name).executor_def.name == EXECUTOR
    steps = {"execution": {"config": {"step_k8s_config": container}}} if in_pods else {}
    return Memory(tags={K8S_TAG: json.dumps(container)}, run_config=steps)


def enlarged(quantity: object, factor: int) -> str | None:
    """A Kubernetes quantity (`4Gi`, `1500M`) so many times as large; None for what is none."""
    found = _QUANTITY.fullmatch(quantity) if isinstance(quantity, str) else None
    return f"{float(found[1]) * factor:.12g}{found[2] or ''}" if found else None


def _limit(config: Any) -> object:
    for name in ("run_k8s_config", "container_config", "resources", "limits", "memory"):
        config = config.get(name) if isinstance(config, dict) else None
    return config
