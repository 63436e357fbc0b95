"""Ask Kubernetes what ended the pod of a step: Dagster's word of a failed job in, the pod's own out. Changes nothing.

Dagster says of a step whose pod died only that its job failed; whether it was for want of memory stands in the pod.
"""

import re

import dagster as dg

from selfheal_assets.sensors.memory import on_kubernetes

_JOB = re.compile(r"failed Kubernetes job (dagster-step-[a-z0-9-]+)")
PODS_READ = 3


def pod_words(instance: dg.DagsterInstance, message: str) -> str:
    """How the pods of the job stand that the message names: `... exit code 137: OOMKilled`; "" where none is named."""
    named = _JOB.search(message)
    if named is None or not on_kubernetes(instance):
        return ""
    from dagster_k8s.client import DagsterKubernetesClient

    try:
        namespace = getattr(instance.run_launcher, "job_namespace", "default")
        client = DagsterKubernetesClient.production_client()  # type: ignore[no-untyped-call]
        pods = client.get_pod_names_in_job(named[1], namespace=namespace)[:PODS_READ]
        return "\n".join(client.get_pod_debug_info(pod, namespace, include_container_logs=False) for pod in pods)
    except (
        Exception
    ) as error:  # of the client, or of the transport below it: the failure is told without the pod's word
        return f"what ended its pod is not known: {type(error).__name__}: {error}"
