"""The adapter against an API server with Kubernetes' rights, paths, versions and schemas, over our own manifests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from failing_runs import SPEC
from fake_cluster import FakeCluster, serving
from kubernetes.client import ApiClient, Configuration
from manifests import of_kind, rendered
from watched_servers import page, samples

from selfheal_assets.adapters.cluster_api import CONFLICTS, ClusterApi
from selfheal_assets.adapters.cluster_objects import DECISIONS, process_number
from selfheal_assets.adapters.cluster_releases import ClusterReleases
from selfheal_assets.adapters.in_memory import InMemoryRegistry
from selfheal_assets.adapters.kubernetes import RESTARTED_AT, KubernetesServers
from selfheal_assets.core.errors import RegistryError, ServingError
from selfheal_assets.operations.cluster import go_back, standing
from selfheal_assets.ports import Candidate, Release, RestartState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STABLE, CANARY = "selfheal-server-payments-stable", "selfheal-server-payments-canary"
OLD, NEW = Release(version="3", run_id="run-3"), Release(version="4", run_id="run-4")
Document = dict[str, Any]


class Unused:
    """A model that nobody loads."""


class Clock:
    def now(self) -> datetime:
        return NOW


def pod(name: str, track: str = "stable", *, address: str = "127.0.0.1", port: int = 1, **status: Any) -> Document:
    labels = of_kind(rendered("production"), "Deployment")[f"selfheal-server-payments-{track}"]["metadata"]["labels"]
    container = {"name": "server", "restartCount": 0, "state": {"running": {"startedAt": "2026-03-01T11:00:00Z"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "server", "ports": [{"containerPort": port}]}]},
        "status": {"podIP": address, "containerStatuses": [{**container, **status}]},
    }


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """The production overlay's servers, with the rights of the code server's account."""
    documents = rendered("production")
    bindings = of_kind(documents, "RoleBinding").values()
    mine = {b["roleRef"]["name"] for b in bindings if "selfheal-code" in [s["name"] for s in b["subjects"]]}
    fake = FakeCluster(roles=[role for name, role in of_kind(documents, "Role").items() if name in mine])
    for name in (STABLE, CANARY):
        fake.put(of_kind(documents, "Deployment")[name])
        fake.rolled_out(name)
    fake.object("deployments", STABLE)["spec"]["replicas"] = 2
    fake.rolled_out(STABLE)
    fake.put(of_kind(documents, "HTTPRoute")["selfheal-payments"])
    fake.put(of_kind(documents, "ConfigMap")["selfheal-payments"])
    with serving(fake):
        yield fake


def api(cluster: FakeCluster, namespace: str = "selfheal") -> ClusterApi:
    settings = Configuration(host=cluster.url)
    settings.proxy, settings.retries = None, 0
    return ClusterApi(ApiClient(settings), namespace)


@pytest.fixture
def servers(cluster: FakeCluster) -> KubernetesServers:
    return KubernetesServers(api(cluster), Clock(), answer_seconds=0.3)


@pytest.fixture
def releases(cluster: FakeCluster) -> ClusterReleases:
    return ClusterReleases(api(cluster))


def registered(registry: InMemoryRegistry, number: int) -> Release:
    empty = {"parameters": {}, "metrics": {}, "batch_ids": [], "data_hash": "", "sample": pd.DataFrame()}
    candidate = Candidate(decision_id=f"made-{number}", **empty)
    version = registry.register(SPEC, Unused(), candidate)
    return Release(version=version.version, run_id=version.run_id)


@pytest.fixture
def answering() -> Iterator[int]:
    """The port of a server that answers as a model server does."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.give(page(samples(ok=5)) if self.path == "/metrics" else '{"ready": true, "problems": []}')

        def do_POST(self) -> None:
            self.give('{"ok": true, "level": "live", "milliseconds": 2.0, "problem": null}')

        def give(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


class TestStatus:
    def test_every_pod_is_asked_and_a_death_is_told(
        self, cluster: FakeCluster, servers: KubernetesServers, answering: int
    ) -> None:
        cluster.put(pod("a", port=answering))
        ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-03-01T11:59:30Z"}}
        cluster.put(pod("b", lastState=ended, restartCount=2))
        found = servers.status("payments")
        a, b = found.servers
        assert (a.ready, a.answered, a.probe and a.probe.ok) == (True, True, True)
        assert not b.answered
        (death,) = found.deaths
        assert death.words == "exit code 137 in b, OOMKilled"
        assert death.pid == process_number(cluster.object("pods", "b"), 1) != b.pid
        assert found.wanted_since == datetime(2026, 3, 1, 11, tzinfo=UTC)

    def test_a_pod_that_leaves_waits_or_is_another_model_s_is_not_a_server(
        self, cluster: FakeCluster, servers: KubernetesServers
    ) -> None:
        leaving, other = pod("leaving"), pod("other")
        leaving["metadata"]["deletionTimestamp"] = "2026-03-01T11:59:00Z"
        other["metadata"]["labels"] = {**other["metadata"]["labels"], "selfheal/model": "others"}
        for one in (leaving, other, pod("waiting", state={"waiting": {"reason": "CrashLoopBackOff"}})):
            cluster.put(one)
        assert servers.status("payments").servers == ()
        assert not servers.status("nobody").any

    def test_without_an_answer_nothing_is_known(self, cluster: FakeCluster, servers: KubernetesServers) -> None:
        cluster.slow_seconds = 0.8
        with pytest.raises(ServingError, match="must answer within"):
            servers.status("payments")
        cluster.slow_seconds = 0.0
        elsewhere = KubernetesServers(api(cluster, "others"), Clock())
        with pytest.raises(ServingError, match="Role must allow"):
            elsewhere.status("payments")


class TestRestart:
    def test_is_rolling_done_once_and_told_when_it_is_over(
        self, cluster: FakeCluster, servers: KubernetesServers
    ) -> None:
        for _ in range(3):
            asked = servers.restart("payments", "d-1", ())
            assert asked.state is RestartState.UNDER_WAY
        (patch,) = cluster.patches()
        assert patch.name == STABLE, "the canary has no pods"
        found = cluster.object("deployments", STABLE)
        assert found["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] == "2026-03-01T12:00:00+00:00"
        assert found["metadata"]["annotations"][DECISIONS] == '["d-1"]'
        cluster.rolled_out(STABLE, updatedReplicas=1)
        assert "1 of 2 pods are new, 2 available, 1 old" in servers.restart("payments", "d-1", ()).words
        cluster.rolled_out(STABLE)
        done = servers.restart("payments", "d-1", ())
        assert (done.state, done.words) == (RestartState.DONE, f"{STABLE}: 2 of 2 pods are new and available")
        assert len(cluster.patches()) == 1
        servers.restart("payments", "d-2", ())
        servers.restart("payments", "d-1", ())
        assert len(cluster.patches()) == 2, "an older decision is not carried out again"

    def test_only_what_is_at_fault(self, cluster: FakeCluster, servers: KubernetesServers) -> None:
        cluster.object("deployments", CANARY)["spec"]["replicas"] = 1
        cluster.put(pod("good"))
        cluster.put(pod("bad", "canary"))
        bad = process_number(cluster.object("pods", "bad"), 0)
        assert servers.restart("payments", "d-1", [bad]).state is RestartState.UNDER_WAY
        assert [patch.name for patch in cluster.patches()] == [CANARY]
        del cluster.objects[("pods", "bad")]
        cluster.rolled_out(CANARY)
        assert servers.restart("payments", "d-1", [bad]).state is RestartState.DONE
        assert servers.restart("payments", "d-2", [bad]).words == "the processes at fault have been replaced already"
        assert len(cluster.patches()) == 1

    def test_without_pods_it_is_impossible(self, cluster: FakeCluster, servers: KubernetesServers) -> None:
        cluster.object("deployments", STABLE)["spec"]["replicas"] = 0
        assert servers.restart("payments", "d-1", ()).state is RestartState.IMPOSSIBLE
        assert cluster.patches() == []

    def test_somebody_else_s_change_is_kept(self, cluster: FakeCluster, servers: KubernetesServers) -> None:
        """The autoscaler writes between the look and the patch."""

        def scaled_meanwhile(fake: FakeCluster, name: str) -> None:
            fake.before_patch = lambda _fake, _name: None
            found = fake.object("deployments", name)
            fake.put({**found, "spec": {**found["spec"], "replicas": 7}})

        cluster.before_patch = scaled_meanwhile
        servers.restart("payments", "d-1", ())
        found = cluster.object("deployments", STABLE)
        assert found["spec"]["replicas"] == 7
        assert found["metadata"]["annotations"][DECISIONS] == '["d-1"]'
        assert len(cluster.patches()) == 2

    def test_endless_conflicts_end(self, cluster: FakeCluster, servers: KubernetesServers) -> None:
        cluster.before_patch = lambda fake, name: fake.put(fake.object("deployments", name))
        with pytest.raises(ServingError, match=f"others changed it {CONFLICTS} times"):
            servers.restart("payments", "d-1", ())
        assert len(cluster.patches()) == CONFLICTS

    def test_what_a_person_wrote_into_the_annotation_does_not_matter(
        self, cluster: FakeCluster, servers: KubernetesServers
    ) -> None:
        cluster.object("deployments", STABLE)["metadata"]["annotations"] = {DECISIONS: "mine!"}
        servers.restart("payments", "d-1", ())
        assert cluster.object("deployments", STABLE)["metadata"]["annotations"][DECISIONS] == '["d-1"]'


class TestReleases:
    def test_scale(self, cluster: FakeCluster, releases: ClusterReleases) -> None:
        for _ in range(2):
            assert not releases.scale("payments", "canary", 1).done
        assert [call.body and call.body["spec"] for call in cluster.patches()] == [{"replicas": 1}]
        assert cluster.object("deployments", CANARY)["spec"]["replicas"] == 1
        for track, replicas in (("blue", 1), ("stable", 101), ("stable", -1)):
            with pytest.raises(ServingError, match="received"):
                releases.scale("payments", track, replicas)

    def test_weights_once_a_decision(self, cluster: FakeCluster, releases: ClusterReleases) -> None:
        assert releases.set_weights("payments", "d-1", 10) == {"canary": 10, "stable": 90}
        assert releases.weights("payments") == {"canary": 10, "stable": 90}
        releases.set_weights("payments", "d-2", 30)
        assert releases.set_weights("payments", "d-1", 10) == {"canary": 30, "stable": 70}
        rule = cluster.object("httproutes", "selfheal-payments")["spec"]["rules"][0]
        assert {match["path"]["value"] for match in rule["matches"]} == {"/predict", "/business"}, "the rest stands"
        with pytest.raises(ServingError, match="received 101"):
            releases.set_weights("payments", "d-3", 101)

    def test_the_release_is_recorded_and_gone_back_from(
        self, cluster: FakeCluster, releases: ClusterReleases, servers: KubernetesServers
    ) -> None:
        with pytest.raises(ServingError, match="needs a previous release"):
            releases.roll_back("payments", "d-0")
        for release in (OLD, OLD, NEW, NEW):
            servers.released("payments", release)
        data = cluster.object("configmaps", "selfheal-payments")["data"]
        assert (data["model_version"], data["mlflow_run_id"], data["previous_mlflow_run_id"]) == ("4", "run-4", "run-3")
        releases.set_weights("payments", "d-1", 50)
        for _ in range(2):
            assert releases.roll_back("payments", "d-2") == OLD
        assert releases.recorded("payments").previous == NEW
        assert releases.weights("payments")["canary"] == 0

    def test_another_model_s_objects_are_out_of_reach(self, cluster: FakeCluster, releases: ClusterReleases) -> None:
        with pytest.raises(ServingError, match="Role must allow"):
            releases.recorded("others")
        assert cluster.calls[-1].verb == "get"

    def test_a_route_of_another_shape_is_refused(self, cluster: FakeCluster, releases: ClusterReleases) -> None:
        cluster.object("httproutes", "selfheal-payments")["spec"]["rules"][0]["backendRefs"].pop()
        with pytest.raises(ServingError, match="must name two Services"):
            releases.set_weights("payments", "d-1", 10)

    def test_an_operator_goes_back_without_dagster(
        self, releases: ClusterReleases, servers: KubernetesServers, tmp_path: Path
    ) -> None:
        registry = InMemoryRegistry(tmp_path)
        with pytest.raises(ServingError, match="needs a previous release"):
            go_back(releases, registry, "payments", "d-0")
        old, new = (registered(registry, number) for number in (1, 2))
        registry.move_alias("payments", "champion", "2", expected=None)
        for release in (old, new):
            servers.released("payments", release)
        for _ in range(2):
            assert go_back(releases, registry, "payments", "d-1") == old
            champion = registry.by_alias("payments", "champion")
            assert champion is not None
            assert champion.version == "1"
        found = standing(releases, "payments")
        assert (found.release.serving, found.release.previous) == (old, new)
        for release in (Release(version="9", run_id="deleted"), new):
            servers.released("payments", release)
        with pytest.raises(RegistryError, match="received deleted"):
            go_back(releases, registry, "payments", "d-2")

    def test_only_what_the_roles_grant_was_asked(self, cluster: FakeCluster, releases: ClusterReleases) -> None:
        releases.set_weights("payments", "d-1", 10)
        releases.scale("payments", "canary", 1)
        standing(releases, "payments")
        assert {call.verb for call in cluster.calls} <= {"get", "list", "patch"}
        assert {call.plural for call in cluster.calls} == {"deployments", "httproutes", "configmaps"}
