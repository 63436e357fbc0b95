"""Read what Kubernetes says of pods and Deployments: documents in; servers, deaths, progress out. Asks nobody."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from selfheal_assets.adapters.cluster_api import Document
from selfheal_assets.core.server_reading import Death
from selfheal_assets.server_files import Server

APPLICATION = {"app.kubernetes.io/name": "selfheal-server"}
MODEL_LABEL, TRACK_LABEL = "selfheal/model", "selfheal/track"
DECISIONS = "selfheal/decisions"
"""Annotation: for which decisions an object was changed, oldest first. None changes it twice."""
DECISIONS_KEPT = 20
CONTAINER = "server"
"""Of a server's pod; whatever is injected beside it is not looked at."""


def labels_of(model: str) -> dict[str, str]:
    """What the pods and Deployments of a model's servers carry."""
    return {**APPLICATION, MODEL_LABEL: model}


def object_name(model: str) -> str:
    """Of the model's HTTPRoute and release ConfigMap: object names take no underscore."""
    return f"selfheal-{model.replace('_', '-')}"


def track_of(document: Document) -> str:
    """`stable` or `canary`, of a pod as of a Deployment."""
    return str(document["metadata"].get("labels", {}).get(TRACK_LABEL, ""))


def decisions_of(document: Document) -> list[str]:
    """For which it was changed already."""
    text = document["metadata"].get("annotations", {}).get(DECISIONS, "[]")
    try:
        known = json.loads(text)
    except ValueError:  # a person wrote into it
        return []
    return [str(one) for one in known] if isinstance(known, list) else []


def noted(document: Document, decision_id: str) -> Document:
    """The metadata of a patch that changes it for the decision, too."""
    known = [*decisions_of(document), decision_id][-DECISIONS_KEPT:]
    return {"annotations": {DECISIONS: json.dumps(known)}}


def process_number(pod: Document, restarts: int) -> int:
    """Stands for a process: every server is process 1 of its own container, and a restart makes another one."""
    digest = hashlib.sha256(f"{pod['metadata']['uid']}/{restarts}".encode()).digest()
    return int.from_bytes(digest[:4])


def server_of(pod: Document) -> Server | None:
    """The server in the pod; None while none runs there, or it is leaving."""
    container, address = _container(pod), pod.get("status", {}).get("podIP")
    running = (container.get("state") or {}).get("running")
    if running is None or not address or "deletionTimestamp" in pod["metadata"]:
        return None
    host = f"[{address}]" if ":" in address else address
    return Server(
        url=f"http://{host}:{_port(pod)}",
        pid=process_number(pod, container.get("restartCount", 0)),
        started=datetime.fromisoformat(running["startedAt"]),
    )


def deaths_of(pod: Document) -> list[Death]:
    """Of its container, unless the pod was asked to go: the last one, and the present one while it waits."""
    if "deletionTimestamp" in pod["metadata"]:
        return []
    container = _container(pod)
    restarts, found = container.get("restartCount", 0), list[Death]()
    ended = [("lastState", restarts - 1), ("state", restarts)]
    for name, number in ended:
        last = (container.get(name) or {}).get("terminated")
        if last is not None and last.get("finishedAt"):
            words = f"exit code {last['exitCode']} in {pod['metadata']['name']}, {last.get('reason') or 'no reason'}"
            at = datetime.fromisoformat(last["finishedAt"])
            found.append(Death(pid=process_number(pod, number), at=at, words=words))
    return found


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a Deployment is with what it was asked for last."""

    done: bool
    words: str


def progress(deployment: Document) -> Progress:
    """As `kubectl rollout status` sees it."""
    wanted, status = replicas(deployment), deployment.get("status", {})
    name = deployment["metadata"]["name"]
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return Progress(done=False, words=f"{name}: not taken up yet")
    updated, total, ready = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    if updated == total == ready == wanted:
        return Progress(done=True, words=f"{name}: {ready} of {wanted} pods are new and available")
    late = any(_is(c, "Progressing", "False") for c in status.get("conditions") or ())
    trouble = ", and the time for it is over: see `kubectl describe`" if late else ""
    words = f"{name}: {updated} of {wanted} pods are new, {ready} available, {max(total - updated, 0)} old{trouble}"
    return Progress(done=False, words=words)


def replicas(deployment: Document) -> int:
    """How many pods it is asked for."""
    wanted: int = deployment["spec"].get("replicas", 1)
    return wanted


def wanted_since(deployments: Sequence[Document]) -> datetime | None:
    """Since when pods are asked for, as they are now; None where none are."""
    moments = [_changed(deployment) for deployment in deployments if replicas(deployment)]
    return min(moments, default=None)


def _changed(deployment: Document) -> datetime:
    moments = [deployment["metadata"]["creationTimestamp"]]
    conditions = deployment.get("status", {}).get("conditions") or ()
    moments += [c["lastUpdateTime"] for c in conditions if c["type"] == "Progressing" and c.get("lastUpdateTime")]
    return max(map(datetime.fromisoformat, moments))


def _is(condition: Document, kind: str, status: str) -> bool:
    return bool(condition["type"] == kind and condition["status"] == status)


def _container(pod: Document) -> dict[str, Any]:
    statuses: list[Document] = pod.get("status", {}).get("containerStatuses") or []
    return next((status for status in statuses if status["name"] == CONTAINER), {})


def _port(pod: Document) -> int:
    container: Document = next(c for c in pod["spec"]["containers"] if c["name"] == CONTAINER)
    port: int = container["ports"][0]["containerPort"]
    return port
