"""The manifests are what Kubernetes takes in every supported version, keep our rules, and fit what the code reads."""

import os
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from manifests import KUBERNETES, OVERLAYS, SECRETS, broken, of_kind, rendered, workloads
from object_schemas import CUSTOM, SUPPORTED, problems

from selfheal_assets.adapters.cluster_objects import labels_of, object_name
from selfheal_assets.adapters.cluster_releases import TRACKS
from selfheal_assets.project import PROJECT
from selfheal_assets.serving.__main__ import _arguments

Document = dict[str, Any]
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
@pytest.mark.parametrize("version", SUPPORTED)
def test_kubernetes_takes_every_object(overlay: str, version: str) -> None:
    wrong = {f"{d['kind']}/{d['metadata']['name']}": problems(d, version) for d in rendered(overlay)}
    assert not {name: found for name, found in wrong.items() if found}


@each_overlay
def test_the_rules_are_kept(overlay: str) -> None:
    assert broken(rendered(overlay)) == []


@each_overlay
def test_what_is_reviewed_is_what_is_applied(overlay: str) -> None:
    """`make manifests` renews it. Without kubectl nothing can be said."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / "overlays" / overlay)], capture_output=True, check=True
    )
    kept = (KUBERNETES / "rendered" / f"{overlay}.yaml").read_text(encoding="utf-8")
    assert done.stdout.decode() == kept, "run `make manifests`"


def server(documents: list[Document]) -> Document:
    found: Document = of_kind(documents, "Deployment")["selfheal-server-payments-stable"]["spec"]["template"]["spec"]
    return found


def without_limits(documents: list[Document]) -> None:
    del server(documents)["containers"][0]["resources"]["limits"]


def as_root(documents: list[Document]) -> None:
    server(documents)["securityContext"]["runAsNonRoot"] = False


def writable(documents: list[Document]) -> None:
    del server(documents)["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


def unprobed(documents: list[Document]) -> None:
    del server(documents)["containers"][0]["startupProbe"]


def latest(documents: list[Document]) -> None:
    server(documents)["containers"][0]["image"] = "selfheal-serving"


def open_secret(documents: list[Document]) -> None:
    server(documents)["containers"][0]["env"] = [{"name": "SELFHEAL_SERVING_TOKEN", "value": "x"}]


def with_token(documents: list[Document]) -> None:
    server(documents)["automountServiceAccountToken"] = True


def wild(documents: list[Document]) -> None:
    of_kind(documents, "Role")["selfheal-runs"]["rules"][0]["verbs"] = ["*"]


def unnamed(documents: list[Document]) -> None:
    del of_kind(documents, "Role")["selfheal-changes-payments"]["rules"][0]["resourceNames"]


def undenied(documents: list[Document]) -> None:
    documents.remove(of_kind(documents, "NetworkPolicy")["default-deny"])


def to_everybody(documents: list[Document]) -> None:
    del of_kind(documents, "NetworkPolicy")["servers-are-asked"]["spec"]["ingress"][0]["from"]


def renamed_service(documents: list[Document]) -> None:
    of_kind(documents, "Service")["selfheal-payments-canary"]["metadata"]["name"] = "other"


def to_the_world(documents: list[Document]) -> None:
    of_kind(documents, "Service")["selfheal-webserver"]["spec"]["type"] = "LoadBalancer"


def unselected(documents: list[Document]) -> None:
    of_kind(documents, "PodDisruptionBudget")["selfheal-server-payments"]["spec"]["selector"] = {
        "matchLabels": {"a": "b"}
    }


def node_folder(documents: list[Document]) -> None:
    server(documents)["volumes"].append({"name": "node", "hostPath": {"path": "/"}})


def unknown_map(documents: list[Document]) -> None:
    server(documents)["containers"][0]["envFrom"][0]["configMapRef"]["name"] = "other"


BREAKS: list[tuple[Callable[[list[Document]], None], str]] = [
    (without_limits, "its requests or limits are missing"),
    (as_root, "it may run as root"),
    (writable, "it may write to its image"),
    (unprobed, "startupProbe missing"),
    (latest, "its image is not pinned"),
    (open_secret, "a secret stands in SELFHEAL_SERVING_TOKEN"),
    (with_token, "a token without rights"),
    (wild, "grants too much"),
    (unnamed, "may change every object"),
    (undenied, "not everything is denied"),
    (to_everybody, "lets everybody in"),
    (renamed_service, "no Service selfheal-payments-canary"),
    (to_the_world, "is open beyond the cluster"),
    (unselected, "selects no pod"),
    (node_folder, "mounts a folder of the node"),
    (unknown_map, "takes its environment from nowhere"),
]


@pytest.mark.parametrize(("damage", "said"), BREAKS, ids=[damage.__name__ for damage, _ in BREAKS])
def test_a_broken_rule_is_found(damage: Callable[[list[Document]], None], said: str) -> None:
    documents = deepcopy(rendered("production"))
    damage(documents)
    assert any(said in words for words in broken(documents))


def test_a_wrong_field_is_found() -> None:
    for kind in ("Deployment", "HTTPRoute", "ServiceMonitor", "PrometheusRule", "ExternalSecret", "NetworkPolicy"):
        document = deepcopy(next(d for d in rendered("production") if d["kind"] == kind))
        assert problems(document, "1.37") == []
        document["spec"]["speling"] = 1
        assert "speling" in problems(document, "1.37")[0]
    assert len(CUSTOM) == 4


def test_production_has_everything() -> None:
    kinds = {document["kind"] for document in rendered("production")}
    assert kinds >= {
        "Deployment", "Service", "HTTPRoute", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount", "Role",
        "RoleBinding", "HorizontalPodAutoscaler", "ConfigMap", "ExternalSecret", "ServiceMonitor",
        "PersistentVolumeClaim", "Namespace",
    }  # fmt: skip
    assert set(of_kind(rendered("production"), "Deployment")) == {
        "selfheal-code", "selfheal-daemon", "selfheal-webserver",
        *(f"selfheal-server-payments-{track}" for track in TRACKS),
    }  # fmt: skip


def test_the_adapter_finds_what_is_applied() -> None:
    documents = rendered("production")
    for deployment in of_kind(documents, "Deployment").values():
        template = deployment["spec"]["template"]["metadata"]["labels"]
        if template["app.kubernetes.io/component"] == "server":
            assert labels_of("payments").items() <= template.items()
            assert labels_of("payments").items() <= deployment["metadata"]["labels"].items()
    assert object_name("payments") in of_kind(documents, "ConfigMap")
    assert object_name("payments") in of_kind(documents, "HTTPRoute")
    assert object_name("card_fraud") == "selfheal-card-fraud"


@each_overlay
def test_the_servers_are_started_as_they_can_be(overlay: str) -> None:
    (container,) = server(rendered(overlay))["containers"]
    given = _arguments(container["args"])
    assert (given.model, given.host, given.port) == ("payments", "0.0.0.0", container["ports"][0]["containerPort"])
    paths = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"/health", "/ready"}


def test_the_instance_is_the_one_that_is_tested() -> None:
    carried = of_kind(rendered("small"), "ConfigMap")["selfheal-dagster-instance"]["data"]["dagster.yaml"]
    assert carried == (PROJECT / "deployment" / "dagster" / "production.yaml").read_text(encoding="utf-8")


def test_the_code_location_has_the_name_that_everybody_uses() -> None:
    documents = rendered("small")
    workspace = yaml.safe_load(of_kind(documents, "ConfigMap")["selfheal-workspace"]["data"]["workspace.yaml"])
    (location,) = (one["grpc_server"] for one in workspace["load_from"])
    code = of_kind(documents, "Deployment")["selfheal-code"]["spec"]["template"]["spec"]["containers"][0]
    assert (location["host"], location["port"]) == ("selfheal-code", code["ports"][0]["containerPort"])
    assert code["args"][-1] == location["location_name"]
    local = yaml.safe_load((PROJECT / "workspace.yaml").read_text(encoding="utf-8"))
    assert local["load_from"][0]["python_module"]["location_name"] == location["location_name"]


@each_overlay
def test_runs_take_the_image_of_the_code(overlay: str) -> None:
    documents = rendered(overlay)
    code = of_kind(documents, "Deployment")["selfheal-code"]["spec"]["template"]["spec"]["containers"][0]
    assert of_kind(documents, "ConfigMap")["selfheal-environment"]["data"]["SELFHEAL_IMAGE"] == code["image"]


@each_overlay
def test_the_settings_know_every_variable(overlay: str) -> None:
    settings = pytest.importorskip("selfheal_assets.settings")
    data = of_kind(rendered(overlay), "ConfigMap")["selfheal-environment"]["data"]
    known = {settings.variable(name) for name in settings.Settings.model_fields}
    launcher = {name for name in data if name in LAUNCHER}
    given = {name.removesuffix("_FILE") for name in data if name.startswith("SELFHEAL_")} - launcher
    assert given <= known
    files = {os.path.basename(value) for name, value in data.items() if name.endswith("_FILE")}
    assert files <= SECRETS["selfheal-services"]


LAUNCHER = {
    "SELFHEAL_COMPUTE_LOGS", "SELFHEAL_ENVIRONMENT_CONFIG_MAP", "SELFHEAL_IMAGE", "SELFHEAL_INSTANCE_CONFIG_MAP",
    "SELFHEAL_NAMESPACE", "SELFHEAL_POSTGRES_SECRET", "SELFHEAL_SERVICE_ACCOUNT",
}  # fmt: skip
"""Read by deployment/dagster/production.yaml, not by selfheal's own settings."""


def test_every_variable_of_the_instance_is_given() -> None:
    text = (PROJECT / "deployment" / "dagster" / "production.yaml").read_text(encoding="utf-8")
    asked = {part.split("}")[0].strip() for part in text.split("env: ")[1:]}
    data = set(of_kind(rendered("small"), "ConfigMap")["selfheal-environment"]["data"])
    assert asked - data == {"DAGSTER_PG_PASSWORD"}, "the password alone comes from a Secret"
    for deployment in workloads(rendered("small")):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            if container["image"].startswith("selfheal:"):
                assert "DAGSTER_PG_PASSWORD" in {variable["name"] for variable in container["env"]}
