"""The commands on a cluster's servers, over an API server; without one they say what is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_cluster import FakeCluster, serving
from kubernetes.client import ApiClient, Configuration
from manifests import of_kind, rendered
from typer.testing import CliRunner

from selfheal_assets.adapters.cluster_api import ClusterApi
from selfheal_assets.cli import app


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[FakeCluster]:
    documents = rendered("production")
    fake = FakeCluster(roles=list(of_kind(documents, "Role").values()))
    for document in documents:
        if document["metadata"].get("labels", {}).get("selfheal/model") and document["kind"] in (
            "Deployment",
            "HTTPRoute",
            "ConfigMap",
        ):
            fake.put(document)
    for name in ("stable", "canary"):
        fake.rolled_out(f"selfheal-server-payments-{name}")
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.setenv("SELFHEAL_SERVING", "kubernetes")
    with serving(fake):
        settings = Configuration(host=fake.url)
        settings.proxy, settings.retries = None, 0
        api = ClusterApi(ApiClient(settings), "selfheal")
        monkeypatch.setattr("selfheal_assets.adapters.cluster_api.connected", lambda _namespace: api)
        yield fake


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["cluster", *words])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_an_operator_tries_another_image_and_goes_back(cluster: FakeCluster) -> None:
    assert said("scale", "payments", "canary", "1").endswith("-canary: not taken up yet")
    assert said("weights", "payments", "20") == "stable: 80%, canary: 20%"
    assert said("weights", "payments", "0") == "stable: 100%, canary: 0%"
    assert said("restart", "payments").startswith("UNDER_WAY")
    cluster.rolled_out("selfheal-server-payments-stable")
    cluster.rolled_out("selfheal-server-payments-canary")
    shown = said("status", "payments")
    assert "100%" in shown
    assert "serving: none; before: none" in shown
    assert len(cluster.patches()) == 5


def test_what_cannot_be_is_said_plainly(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "received 'blue'" in said("scale", "payments", "blue", "1", code=1)
    assert "received 'nobody'" in said("status", "nobody", code=1)
    cluster.roles = []
    assert "Role must allow" in said("status", "payments", code=1)
    monkeypatch.setenv("SELFHEAL_SERVING", "local")
    assert "needs SELFHEAL_SERVING=kubernetes" in said("status", "payments", code=1)
