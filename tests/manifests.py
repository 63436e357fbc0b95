"""The manifests as they are rendered, and the rules that they keep: documents in, broken rules in words out."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from selfheal_assets.project import PROJECT

KUBERNETES = PROJECT / "deployment" / "kubernetes"
OVERLAYS = ("small", "production")
SECRETS = {
    "selfheal-services": {
        "ledger-url",
        "mlflow-url",
        "feast-registry-url",
        "tuning-url",
        "online-store-url",
        "s3-access-key-id",
        "s3-secret-access-key",
    },
    "selfheal-dagster-postgres": {"postgresql-password"},
    "selfheal-server-token": {"token"},
    "selfheal-redis": {"redis-password"},
}
"""The Secrets that an operator, or External Secrets, puts into the namespace; deployment/README.md lists them."""
Document = dict[str, Any]


@cache
def _text(overlay: str) -> str:
    return (KUBERNETES / "rendered" / f"{overlay}.yaml").read_text(encoding="utf-8")


def rendered(overlay: str) -> list[Document]:
    """Every object of the overlay."""
    return [document for document in yaml.safe_load_all(_text(overlay)) if document]


def of_kind(documents: Sequence[Document], kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def workloads(documents: Sequence[Document]) -> list[Document]:
    return [document for document in documents if document["kind"] in ("Deployment", "StatefulSet")]


def broken(documents: Sequence[Document]) -> list[str]:
    """The rules that are broken, each with the object that breaks it."""
    found = []
    for document in workloads(documents):
        name, template = document["metadata"]["name"], document["spec"]["template"]
        found += [f"{name}: {what}" for what in [*pod_problems(template["spec"]), *_probe_problems(template["spec"])]]
        if not _selects(document["spec"]["selector"], template["metadata"]["labels"]):
            found.append(f"{name}: its selector does not select its pods")
        found += [f"{name}: {what}" for what in _reference_problems(template["spec"], documents)]
    return [*found, *_service_problems(documents), *_role_problems(documents), *_network_problems(documents)]


def pod_problems(pod: Document) -> Iterator[str]:
    """Of any pod: the rules of Kubernetes' `restricted` standard and ours."""
    security = pod.get("securityContext") or {}
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "it may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "it has no seccomp profile"
    if {"hostNetwork", "hostPID", "hostIPC"} & set(pod):
        yield "it enters the node"
    if pod.get("serviceAccountName", "default") == "default":
        yield "it uses the default service account"
    if any("hostPath" in volume for volume in pod.get("volumes", ())):
        yield "it mounts a folder of the node"
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        yield from (f"{container['name']}: {what}" for what in _container_problems(container))


def _container_problems(container: Document) -> Iterator[str]:
    security, resources = container.get("securityContext") or {}, container.get("resources") or {}
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "it may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "it may write to its image"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "it keeps capabilities"
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield "its requests or limits are missing"
    if container["image"].rpartition(":")[2] in ("latest", container["image"]):
        yield "its image is not pinned"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "it takes a port of the node"
    for variable in container.get("env", ()):
        secret = any(word in variable["name"] for word in ("PASSWORD", "TOKEN", "SECRET", "KEY"))
        if secret and "value" in variable and not variable["name"].endswith("_FILE"):
            yield f"a secret stands in {variable['name']}"


def _probe_problems(pod: Document) -> Iterator[str]:
    for container in pod["containers"]:
        missing = {"startupProbe", "readinessProbe", "livenessProbe"} - set(container)
        if missing:
            yield f"{container['name']}: {', '.join(sorted(missing))} missing"
        named = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {})
            port = (asked.get("httpGet") or asked.get("tcpSocket") or {}).get("port")
            if port is not None and port not in named:
                yield f"{container['name']}: {probe} asks port {port}, which it has not"


def _reference_problems(pod: Document, documents: Sequence[Document]) -> Iterator[str]:
    maps, claims = of_kind(documents, "ConfigMap"), of_kind(documents, "PersistentVolumeClaim")
    if pod["serviceAccountName"] not in of_kind(documents, "ServiceAccount"):
        yield f"the service account {pod['serviceAccountName']} does not stand"
    bound = {s["name"] for b in of_kind(documents, "RoleBinding").values() for s in b["subjects"]}
    if bool(pod.get("automountServiceAccountToken")) != (pod["serviceAccountName"] in bound):
        yield "it has a token without rights, or rights without a token"
    templates = _claim_templates(documents)
    for volume in pod.get("volumes", ()):
        if "configMap" in volume and volume["configMap"]["name"] not in maps:
            yield f"volume {volume['name']}: no such ConfigMap"
        if "secret" in volume and volume["secret"]["secretName"] not in SECRETS:
            yield f"volume {volume['name']}: an unknown Secret"
        if "persistentVolumeClaim" in volume and volume["persistentVolumeClaim"]["claimName"] not in claims:
            yield f"volume {volume['name']}: no such claim"
    known = {volume["name"] for volume in pod.get("volumes", ())} | templates
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in known:
                yield f"{container['name']}: mounts {mount['name']}, which is no volume"
        for source in container.get("envFrom", ()):
            if source.get("configMapRef", {}).get("name") not in maps:
                yield f"{container['name']}: takes its environment from nowhere"
        for variable in container.get("env", ()):
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            if key is not None and key["key"] not in SECRETS.get(key["name"], ()):
                yield f"{container['name']}: {variable['name']} comes from an unknown Secret"


def _claim_templates(documents: Sequence[Document]) -> set[str]:
    return {c["metadata"]["name"] for d in workloads(documents) for c in d["spec"].get("volumeClaimTemplates", ())}


def _service_problems(documents: Sequence[Document]) -> Iterator[str]:
    services, pods = of_kind(documents, "Service"), [d["spec"]["template"] for d in workloads(documents)]
    for name, service in services.items():
        chosen = [pod for pod in pods if _carries(pod["metadata"]["labels"], service["spec"]["selector"])]
        ports = {port["name"] for pod in chosen for c in pod["spec"]["containers"] for port in c.get("ports", ())}
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service {name}: no pod has the port {port['targetPort']}"
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"Service {name}: is open beyond the cluster"
    for name, route in of_kind(documents, "HTTPRoute").items():
        for backend in (ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]):
            service = services.get(backend["name"], {"spec": {"ports": ()}})
            if backend["port"] not in [port["port"] for port in service["spec"]["ports"]]:
                yield f"HTTPRoute {name}: no Service {backend['name']} with port {backend['port']}"
    for name, scaler in of_kind(documents, "HorizontalPodAutoscaler").items():
        if scaler["spec"]["scaleTargetRef"]["name"] not in of_kind(documents, "Deployment"):
            yield f"HorizontalPodAutoscaler {name}: scales nothing"
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for name, chosen_by in of_kind(documents, kind).items():
            selector = chosen_by["spec"].get("selector") or chosen_by["spec"].get("podSelector") or {}
            if not any(_selects(selector, pod["metadata"]["labels"]) for pod in pods):
                yield f"{kind} {name}: selects no pod"


def _role_problems(documents: Sequence[Document]) -> Iterator[str]:
    if kinds := {"ClusterRole", "ClusterRoleBinding"} & {document["kind"] for document in documents}:
        yield f"{', '.join(kinds)}: a right beyond the namespace"
    roles = of_kind(documents, "Role")
    for name, role in roles.items():
        for rule in role["rules"]:
            granted = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            if "*" in granted or granted & {"secrets", "pods/exec", "impersonate", "escalate", "bind"}:
                yield f"Role {name}: grants too much"
            if "patch" in rule["verbs"] and not rule.get("resourceNames"):
                yield f"Role {name}: may change every object of its kind"
    for name, binding in of_kind(documents, "RoleBinding").items():
        if binding["roleRef"]["name"] not in roles:
            yield f"RoleBinding {name}: no such Role"
        for subject in binding["subjects"]:
            if subject["name"] not in of_kind(documents, "ServiceAccount"):
                yield f"RoleBinding {name}: no such account {subject['name']}"


def _network_problems(documents: Sequence[Document]) -> Iterator[str]:
    policies = of_kind(documents, "NetworkPolicy").values()
    of_all = [policy["spec"] for policy in policies if not policy["spec"]["podSelector"]]
    denied = {kind for spec in of_all for kind in spec["policyTypes"] if not spec.get(kind.lower())}
    if denied != {"Ingress", "Egress"}:
        yield "NetworkPolicy: not everything is denied by default"
    for policy in policies:
        if any(not rule.get("from") for rule in policy["spec"].get("ingress", ())):
            yield f"NetworkPolicy {policy['metadata']['name']}: lets everybody in"


def _selects(selector: Document, labels: Mapping[str, str]) -> bool:
    chosen = _carries(labels, selector.get("matchLabels", {}))
    for one in selector.get("matchExpressions", ()):
        assert one["operator"] == "In", "teach this test the other operators when one is used"
        chosen &= labels.get(one["key"]) in one["values"]
    return chosen


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()
