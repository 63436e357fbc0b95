"""Debian's Prometheus scrapes a model server as an operator would let it: the target is up, and its metrics answer."""

import subprocess
from pathlib import Path

import httpx
import pytest
from served import ROW, wait_for
from servers import free_port, program
from serving_process import running

from selfheal_assets.serving.client import Client

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: selfheal
    static_configs: [{{targets: ["{target}"]}}]
"""


def test_prometheus_scrapes_a_server(tmp_path: Path) -> None:
    prometheus, port = program("prometheus", "prometheus"), free_port()
    with running(tmp_path / "home") as server:
        with Client(server.url, deadline_s=20.0) as client:
            for number in range(3):
                client.predict([{**ROW, "event_id": f"e{number}"}])
        configuration = tmp_path / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(target=server.url.removeprefix("http://")))
        command = [prometheus, f"--config.file={configuration}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            wait_for(lambda: asked(port, "up") == [1.0], 60.0)
            wait_for(lambda: asked(port, 'selfheal_requests_total{outcome="ok"}') == [3.0], 30.0)
            targets = httpx.get(f"http://127.0.0.1:{port}/api/v1/targets", timeout=10.0).json()["data"]
            assert [target["health"] for target in targets["activeTargets"]] == ["up"]
            assert [target["lastError"] for target in targets["activeTargets"]] == [""]
        except (AssertionError, TimeoutError):
            pytest.fail((tmp_path / "log").read_text()[-2000:])
        finally:
            process.terminate()
            process.wait(30)


def asked(port: int, query: str) -> list[float]:
    """The values of an instant query; none while Prometheus is not up."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, timeout=10.0)
    except httpx.TransportError:
        return []
    found = answer.json().get("data", {}).get("result", []) if answer.status_code == 200 else []
    return [float(one["value"][1]) for one in found]
