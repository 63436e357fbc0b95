"""Read and change objects of one Kubernetes namespace: documents in, documents out. Never creates, never deletes.

It writes by JSON merge patch with the resourceVersion that it read: what somebody else has changed meanwhile is read
again, not overwritten.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import ServingError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Document = dict[str, Any]
CONNECT_SECONDS, READ_SECONDS = 0.3, 0.5
"""Of one look: a sensor's tick must end within a second or two."""
WRITE_SECONDS = 5.0
CONFLICTS = 5
"""So often somebody else may have been faster, before it is given up."""
LISTED = 500
"""Objects of one list at most: many times the pods of one model."""
MERGE_PATCH = "application/merge-patch+json"
CONFLICT, NOT_FOUND, FORBIDDEN = 409, 404, 403


class Kind(StrEnum):
    """What selfheal looks at or changes; the value is the path of its collection."""

    PODS = "/api/v1/namespaces/{namespace}/pods"
    CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps"
    DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
    ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"

    @property
    def plural(self) -> str:
        return self.value.rpartition("/")[2]


class ClusterApi:
    """One namespace of a cluster, through the official client."""

    def __init__(self, client: "ApiClient", namespace: str) -> None:
        self._client, self._namespace = client, namespace

    def listed(self, kind: Kind, labels: Mapping[str, str]) -> list[Document]:
        """Those that carry all of the labels, by name."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        query = [("labelSelector", selector), ("limit", str(LISTED))]
        found = self._call(kind.value, kind, "GET", query=query)
        items: list[Document] = found.get("items") or []
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    def read(self, kind: Kind, name: str) -> Document:
        """Raises ServingError where there is none of that name."""
        return self._call(f"{kind}/{{name}}", kind, "GET", name=name)

    def change(self, kind: Kind, name: str, wanted: Callable[[Document], Document | None]) -> Document:
        """The object as it is afterwards. `wanted`: from the object as it is to a merge patch; None: nothing to do.

        Asked again with the newer object when somebody else changed it meanwhile, CONFLICTS times at most.
        """
        for _ in range(CONFLICTS):
            found = self.read(kind, name)
            patch = wanted(found)
            if patch is None:
                return found
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            body = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
            changed = self._patched(kind, name, body)
            if changed is not None:
                return changed
        raise ServingError(
            f"{kind.plural}/{name} must stand still for a moment to be changed; others changed it {CONFLICTS} times in "
            "a row. Find out who writes to it, and try again."
        )

    def _patched(self, kind: Kind, name: str, body: Document) -> Document | None:
        """None: the object is not any more what was read."""
        from kubernetes.client import ApiException

        try:
            return self._request(f"{kind}/{{name}}", "PATCH", name=name, body=body, seconds=WRITE_SECONDS)
        except ApiException as error:
            if error.status == CONFLICT:
                return None
            raise _told(kind, name, error) from error
        except Exception as error:
            raise _told(kind, name, error) from error

    def _call(self, path: str, kind: Kind, method: str, *, name: str = "", query: Any = None) -> Document:
        try:
            return self._request(path, method, name=name, query=query)
        except Exception as error:  # of the client, or of the transport below it: urllib3's, and Python's own
            raise _told(kind, name, error) from error

    def _request(
        self,
        path: str,
        method: str,
        *,
        name: str = "",
        query: list[tuple[str, str]] | None = None,
        body: Document | None = None,
        seconds: float = READ_SECONDS,
    ) -> Document:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH
        answer: Document = self._client.call_api(
            path,
            method,
            path_params={"namespace": self._namespace, **({"name": name} if name else {})},
            query_params=query or [],
            header_params=headers,
            body=body,
            response_types_map={200: "object"},
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=(CONNECT_SECONDS, seconds),
        )
        return answer


def connected(namespace: str) -> ClusterApi:
    """By the pod's service account; outside a cluster by the person's kubeconfig."""
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    settings = Configuration()
    try:
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            config.load_kube_config(client_configuration=settings)
    except config.ConfigException as error:
        raise ServingError(
            "SELFHEAL_SERVING=kubernetes needs a service account or a kubeconfig; received neither: "
            f"{error}. Run it in the cluster, or set KUBECONFIG."
        ) from error
    settings.retries = 0  # urllib3 would wait for three times as long
    return ClusterApi(ApiClient(settings), namespace)


def _told(kind: Kind, name: str, error: Exception) -> ServingError:
    what = f"{kind.plural}/{name}" if name else kind.plural
    status = getattr(error, "status", None)
    if status == NOT_FOUND:
        return ServingError(f"{what} must be in the namespace; received 404. Apply deployment/kubernetes again.")
    if status == FORBIDDEN:
        return ServingError(
            f"The Role must allow what is asked of {what}; received 403. Compare it with base/rbac.yaml."
        )
    said = " ".join(str(getattr(error, "reason", None) or error).split())[:300]
    return ServingError(
        f"The API server must answer within {READ_SECONDS:g} s ({WRITE_SECONDS:g} s a change) about {what}; received "
        f"{type(error).__name__} {status or ''}: {said}. It is asked again; look at the cluster when it lasts."
    )
