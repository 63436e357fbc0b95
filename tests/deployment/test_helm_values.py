"""The values are of the official chart: its keys, as its values.schema.json has them for what is set here.

The chart's schema asks the network for Kubernetes' own; the keys that it allows are written down here instead, from
helm/dagster/values.schema.json of dagster-io/dagster. What a mistake there costs is a key that the chart does not read.
"""

from typing import Any

import yaml
from manifests import SECRETS, of_kind, pod_problems, rendered

from selfheal_assets.project import PROJECT

VALUES: dict[str, Any] = yaml.safe_load((PROJECT / "deployment" / "helm" / "dagster-values.yaml").read_text("utf-8"))
TOP = {
    "dagsterWebserver", "dagster-user-deployments", "postgresql", "generatePostgresqlPasswordSecret", "rabbitmq",
    "redis", "flower", "ingress", "runLauncher", "dagsterDaemon", "telemetry", "serviceAccount", "global", "retention",
    "rbacEnabled",
}  # fmt: skip
POD = {
    "image", "env", "envConfigMaps", "envSecrets", "labels", "nodeSelector", "affinity", "tolerations",
    "podSecurityContext", "securityContext", "resources", "livenessProbe", "startupProbe", "annotations",
    "volumeMounts", "volumes", "schedulerName", "readinessProbe",
}  # fmt: skip
WEBSERVER = POD | {"replicaCount", "nameOverride", "service", "workspace", "deploymentLabels", "enableReadOnly"}
DAEMON = POD | {"enabled", "runCoordinator", "runMonitoring", "runRetries", "sensors", "schedules", "deploymentLabels"}
CODE = POD | {
    "name", "dagsterApiGrpcArgs", "codeServerArgs", "includeConfigInLaunchedRuns", "deploymentNamespace", "port",
    "initContainers", "sidecarContainers",
}  # fmt: skip
LAUNCHER = {
    "image", "imagePullPolicy", "jobNamespace", "loadInclusterConfig", "kubeconfigFile", "envConfigMaps", "envSecrets",
    "envVars", "volumeMounts", "volumes", "labels", "failPodOnRunFailure", "resources", "schedulerName",
    "securityContext", "runK8sConfig",
}  # fmt: skip
POSTGRES = {
    "image", "enabled", "postgresqlHost", "postgresqlUsername", "postgresqlPassword", "postgresqlDatabase",
    "postgresqlParams", "postgresqlScheme", "service",
}  # fmt: skip


def test_the_chart_knows_every_key() -> None:
    assert set(VALUES) <= TOP
    assert set(VALUES["dagsterWebserver"]) <= WEBSERVER
    assert set(VALUES["dagsterDaemon"]) <= DAEMON
    assert set(VALUES["postgresql"]) <= POSTGRES
    assert set(VALUES["dagster-user-deployments"]) <= {"enabled", "enableSubchart", "imagePullSecrets", "deployments"}
    (code,) = VALUES["dagster-user-deployments"]["deployments"]
    assert set(code) <= CODE
    launcher = VALUES["runLauncher"]
    assert set(launcher) == {"type", "config"}
    assert launcher["type"] == "K8sRunLauncher"
    assert set(launcher["config"]["k8sRunLauncher"]) <= LAUNCHER
    assert set(launcher["config"]["k8sRunLauncher"]["runK8sConfig"]) <= {
        "containerConfig", "podSpecConfig", "podTemplateSpecMetadata", "jobSpecConfig", "jobMetadata",
    }  # fmt: skip
    coordinator = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert set(coordinator) <= {"maxConcurrentRuns", "tagConcurrencyLimits", "dequeueIntervalSeconds"}


def test_the_values_name_what_the_manifests_bring() -> None:
    documents = rendered("production")
    (code,) = VALUES["dagster-user-deployments"]["deployments"]
    assert VALUES["global"]["postgresqlSecretName"] in SECRETS
    assert VALUES["global"]["serviceAccountName"] in of_kind(documents, "ServiceAccount")
    maps = {
        m["name"] for part in (VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], code) for m in part["envConfigMaps"]
    }
    assert maps <= set(of_kind(documents, "ConfigMap"))
    claims = {v["persistentVolumeClaim"]["claimName"] for v in code["volumes"] if "persistentVolumeClaim" in v}
    assert claims == set(of_kind(documents, "PersistentVolumeClaim"))
    container = of_kind(documents, "Deployment")["selfheal-code"]["spec"]["template"]["spec"]["containers"][0]
    assert code["port"] == container["ports"][0]["containerPort"]
    assert [word for word in container["args"] if word.startswith("--m") or word.startswith("--location")] == [
        word for word in code["dagsterApiGrpcArgs"] if word.startswith("--")
    ]


def test_its_pods_keep_the_rules() -> None:
    (code,) = VALUES["dagster-user-deployments"]["deployments"]
    for part in (VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], code):
        image = f"{part['image']['repository']}:{part['image']['tag']}"
        container = {
            "name": "c", "image": image, "securityContext": part["securityContext"], "resources": part["resources"],
        }  # fmt: skip
        pod = {
            "securityContext": part["podSecurityContext"],
            "serviceAccountName": VALUES["global"]["serviceAccountName"],
            "containers": [container, *part.get("initContainers", ())],
            "volumes": part["volumes"],
        }
        assert list(pod_problems(pod)) == []
    run = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    container = {"name": "run", "image": "i:1", **run["containerConfig"]}
    assert list(pod_problems({**run["podSpecConfig"], "serviceAccountName": "a", "containers": [container]})) == []
