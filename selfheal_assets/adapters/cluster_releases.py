"""Keep a model's release in the cluster: versions, replicas and weights in; ConfigMap, Deployments, HTTPRoute changed.

Never moves an alias of the registry, and never writes an object that does not stand.
"""

from dataclasses import dataclass
from typing import Any

from selfheal_assets.adapters.cluster_api import ClusterApi, Document, Kind
from selfheal_assets.adapters.cluster_objects import (
    MODEL_LABEL,
    Progress,
    decisions_of,
    labels_of,
    noted,
    object_name,
    progress,
    track_of,
)
from selfheal_assets.core.errors import ServingError
from selfheal_assets.ports import Release

TRACKS = STABLE, CANARY = ("stable", "canary")
MOST_REPLICAS = 100
VERSION, RUN_ID = "model_version", "mlflow_run_id"
PREVIOUS = "previous_"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the release ConfigMap says."""

    serving: Release | None
    previous: Release | None
    """What served before it, and may be gone back to."""


class ClusterReleases:
    """What an operator, or a rollout, changes of the servers of a model."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api

    def progress(self, model: str) -> dict[str, Progress]:
        """By track: as `kubectl rollout status`."""
        return {track_of(found): progress(found) for found in self._api.listed(Kind.DEPLOYMENTS, labels_of(model))}

    def weights(self, model: str) -> dict[str, int]:
        """By track: its share of the requests, in percent."""
        backends = _backends(self._api.read(Kind.ROUTES, object_name(model)), model)
        return {track: backend.get("weight", 1) for track, backend in backends.items()}

    def scale(self, model: str, track: str, replicas: int) -> Progress:
        """So many pods of the track. Of a Deployment with an autoscaler that has the last word."""
        if not 0 <= replicas <= MOST_REPLICAS:
            raise ServingError(f"replicas must be from 0 to {MOST_REPLICAS}; received {replicas}. Correct it.")
        name = self._deployment(model, track)["metadata"]["name"]
        same = {"spec": {"replicas": replicas}}
        changed = self._api.change(
            Kind.DEPLOYMENTS, name, lambda found: None if found["spec"].get("replicas", 1) == replicas else same
        )
        return progress(changed)

    def set_weights(self, model: str, decision_id: str, canary_percent: int) -> dict[str, int]:
        """The canary's share of the requests; the rest is the stable track's. By track, as they are afterwards.

        The same decision is carried out once: what a person has set since is left alone.
        """
        if not 0 <= canary_percent <= 100:
            raise ServingError(f"A weight must be from 0 to 100 percent; received {canary_percent}. Correct it.")
        share = {CANARY: canary_percent, STABLE: 100 - canary_percent}

        def wanted(found: Document) -> Document | None:
            backends = _backends(found, model)
            if decision_id in decisions_of(found):
                return None
            shared = [{**backends[track], "weight": share[track]} for track in TRACKS]
            rules = [{**found["spec"]["rules"][0], "backendRefs": shared}, *found["spec"]["rules"][1:]]
            return {"metadata": noted(found, decision_id), "spec": {"rules": rules}}

        changed = self._api.change(Kind.ROUTES, object_name(model), wanted)
        return {track: backend["weight"] for track, backend in _backends(changed, model).items()}

    def recorded(self, model: str) -> Recorded:
        """As it stands in the release ConfigMap."""
        return _recorded(self._api.read(Kind.CONFIG_MAPS, object_name(model)))

    def record(self, model: str, release: Release) -> None:
        """Who has the traffic; what the ConfigMap names for it until then becomes its previous release."""

        def wanted(found: Document) -> Document | None:
            known = _recorded(found)
            if known.serving == release:
                return None
            return {"data": {**_data(release), **_data(known.serving, PREVIOUS)}}

        self._api.change(Kind.CONFIG_MAPS, object_name(model), wanted)

    def roll_back(self, model: str, decision_id: str) -> Release:
        """Back to the run id that is recorded as the previous one; all requests to the stable track.

        Done twice for one decision it goes back once. Raises ServingError when none is recorded.
        """

        def wanted(found: Document) -> Document | None:
            if decision_id in decisions_of(found):
                return None
            known = _recorded(found)
            if known.previous is None:
                raise ServingError(
                    f"A rollback needs a previous release in configmaps/{object_name(model)}; received none. "
                    f"Use the job {model}_rollback, which asks the registry."
                )
            data = {**_data(known.previous), **_data(known.serving, PREVIOUS)}
            return {"metadata": noted(found, decision_id), "data": data}

        self.set_weights(model, decision_id, 0)
        standing = _recorded(self._api.change(Kind.CONFIG_MAPS, object_name(model), wanted)).serving
        assert standing is not None
        return standing

    def _deployment(self, model: str, track: str) -> Document:
        found = {track_of(one): one for one in self._api.listed(Kind.DEPLOYMENTS, labels_of(model))}
        if track not in found:
            known = ", ".join(sorted(found)) or "none"
            raise ServingError(
                f"A track must have a Deployment with the label {MODEL_LABEL}={model}; received {track!r}. "
                f"There are: {known}."
            )
        return found[track]


def _backends(route: Document, model: str) -> dict[str, dict[str, Any]]:
    """By track: the Services' names end in it."""
    refs = route["spec"]["rules"][0].get("backendRefs") or []
    found = {str(ref["name"]).rpartition("-")[2]: ref for ref in refs}
    if set(found) != set(TRACKS):
        raise ServingError(
            f"The first rule of httproutes/{object_name(model)} must name two Services, ending in -{STABLE} and "
            f"-{CANARY}; received {[ref['name'] for ref in refs]}. Apply deployment/kubernetes again."
        )
    return found


def _recorded(config_map: Document) -> Recorded:
    data = config_map.get("data") or {}
    return Recorded(serving=_release(data), previous=_release(data, PREVIOUS))


def _release(data: dict[str, str], prefix: str = "") -> Release | None:
    version, run_id = (data.get(prefix + name, "") for name in (VERSION, RUN_ID))
    return Release(version=version, run_id=run_id) if version and run_id else None


def _data(release: Release | None, prefix: str = "") -> dict[str, str]:
    if release is None:
        return {}
    return {prefix + VERSION: release.version, prefix + RUN_ID: release.run_id}
