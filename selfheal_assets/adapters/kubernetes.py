"""Look at the model servers of a cluster, and have them restarted, a few at a time. Never deletes a pod itself."""

from collections.abc import Sequence
from typing import Any

from selfheal_assets.adapters.cluster_api import ClusterApi, Document, Kind
from selfheal_assets.adapters.cluster_objects import (
    deaths_of,
    decisions_of,
    labels_of,
    noted,
    progress,
    replicas,
    server_of,
    track_of,
    wanted_since,
)
from selfheal_assets.adapters.cluster_releases import ClusterReleases
from selfheal_assets.adapters.server_pages import readings
from selfheal_assets.core.server_reading import ServingStatus
from selfheal_assets.ports import Clock, Release, Restart, RestartState

ANSWER_SECONDS = 0.6
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""The annotation of the pods by which `kubectl rollout restart` replaces them; ours shows in its history likewise."""


class KubernetesServers:
    """Implements `ports.Serving` over the Deployments that carry the model's labels."""

    def __init__(self, api: ClusterApi, clock: Clock, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._api, self._clock, self._seconds = api, clock, answer_seconds

    def status(self, model: str) -> ServingStatus:
        """Raises ServingError when the API server does not answer: then nothing is known of any server."""
        deployments = self._api.listed(Kind.DEPLOYMENTS, labels_of(model))
        pods = self._api.listed(Kind.PODS, labels_of(model))
        servers = [server for pod in pods if (server := server_of(pod)) is not None]
        return ServingStatus(
            servers=tuple(readings(servers, self._seconds)),
            deaths=tuple(sorted((d for pod in pods for d in deaths_of(pod)), key=lambda death: death.at)),
            wanted_since=wanted_since(deployments),
        )

    def restart(self, model: str, decision_id: str, pids: Sequence[int]) -> Restart:
        """A rolling restart of the Deployments whose pods are at fault; of all of them where no process is named."""
        deployments = [d for d in self._api.listed(Kind.DEPLOYMENTS, labels_of(model)) if replicas(d)]
        if not deployments:
            words = f"no Deployment in the cluster keeps a server of {model}; scale one up"
            return Restart(state=RestartState.IMPOSSIBLE, words=words)
        tracks = self._at_fault(model, pids) if pids else {track_of(d) for d in deployments}
        asked = [d for d in deployments if track_of(d) in tracks or decision_id in decisions_of(d)]
        if not asked:
            return Restart(state=RestartState.DONE, words="the processes at fault have been replaced already")
        standing = [self._restarted(deployment, decision_id) for deployment in asked]
        found = [progress(deployment) for deployment in standing]
        state = RestartState.DONE if all(one.done for one in found) else RestartState.UNDER_WAY
        return Restart(state=state, words="; ".join(one.words for one in found))

    def released(self, model: str, release: Release) -> None:
        """Into the model's release ConfigMap."""
        ClusterReleases(self._api).record(model, release)

    def _at_fault(self, model: str, pids: Sequence[int]) -> set[str]:
        """The tracks of those processes that still stand."""
        return {
            track_of(pod)
            for pod in self._api.listed(Kind.PODS, labels_of(model))
            if (server := server_of(pod)) is not None and server.pid in pids
        }

    def _restarted(self, deployment: Document, decision_id: str) -> Document:
        def wanted(found: Document) -> dict[str, Any] | None:
            if decision_id in decisions_of(found):
                return None
            moment = self._clock.now().isoformat(timespec="seconds")
            return {
                "metadata": noted(found, decision_id),
                "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: moment}}}},
            }

        return self._api.change(Kind.DEPLOYMENTS, deployment["metadata"]["name"], wanted)
