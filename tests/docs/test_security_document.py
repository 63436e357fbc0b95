"""SECURITY.md says of ports and formats what the code and the manifests do."""

import re

from manifests import of_kind, rendered, workloads

from selfheal_assets.core.serving_spec import ServingSpec
from selfheal_assets.project import PROJECT
from selfheal_assets.serving.__main__ import _arguments

TEXT = (PROJECT / "SECURITY.md").read_text(encoding="utf-8")
PORTS = {int(port) for port in re.findall(r"^\| (\d+)", TEXT, re.M)}


def test_every_port_that_listens_is_stated() -> None:
    for overlay in ("small", "production"):
        for workload in workloads(rendered(overlay)):
            for container in workload["spec"]["template"]["spec"]["containers"]:
                assert {port["containerPort"] for port in container.get("ports", ())} <= PORTS
    exposed = re.findall(r"(?m)^EXPOSE (.*)$", (PROJECT / "deployment/images/Dockerfile").read_text("utf-8"))
    assert {int(port) for line in exposed for port in line.split()} <= PORTS
    assert ServingSpec().port in PORTS


def test_servers_listen_on_this_machine_alone_unless_told() -> None:
    assert _arguments(["payments"]).host == "127.0.0.1"


def test_the_gateway_passes_predictions_and_business_values_alone() -> None:
    route = of_kind(rendered("production"), "HTTPRoute")["selfheal-payments"]
    matches = [match for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert {(m["path"]["type"], m["path"]["value"], m["method"]) for m in matches} == {
        ("Exact", "/predict", "POST"),
        ("Exact", "/business", "POST"),
    }


def test_nothing_unpickles() -> None:
    for path in (PROJECT / "selfheal_assets").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"import (pickle|joblib|dill|cloudpickle)|allow_pickle=True|yaml\.(unsafe_)?load\(", text
        ), path


def test_the_exceptions_that_are_listed_are_told() -> None:
    text = (PROJECT / "deployment/security/exceptions.toml").read_text(encoding="utf-8")
    exceptions = re.findall(r"(?m)^\[\[exception\]\]", text)
    assert ("Exceptions at present: none" in TEXT) == (not exceptions)
