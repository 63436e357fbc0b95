"""A model server of which only the pages are real: it follows registry and ledger, and counts what it is told."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd

from selfheal_assets.core import served_columns as served
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.traffic import Arm, Traffic
from selfheal_assets.ports.serving import FeatureLevel
from selfheal_assets.server_files import Server, registered, servers_folder
from selfheal_assets.serving.metrics import ServerMetrics
from selfheal_assets.serving.wiring import wanted_traffic
from selfheal_assets.wiring import Services


class FakeServer:
    """Counts as the server does, by the traffic that registry and ledger ask for."""

    def __init__(self, services: Services, spec: ModelSpec) -> None:
        self.services, self.spec = services, spec
        self.metrics = ServerMetrics(spec.name)
        self.down = False

    @property
    def traffic(self) -> Traffic:
        found = wanted_traffic(self.spec.name, self.services.registry, self.services.ledger)
        assert found is not None
        return found

    def restart(self) -> None:
        self.metrics = ServerMetrics(self.spec.name)

    def serve(self, rows: int, *, failing: str | None = None, share: float = 0.0, seed: int = 0) -> pd.DataFrame:
        """Rows with uniform scores, as the log has them; of the version `failing` a share cannot be scored."""
        traffic, draws = self.traffic, np.random.default_rng(seed)
        versions = {Arm.CHAMPION: traffic.champion}
        if traffic.challenger is not None:
            versions[Arm.CHALLENGER] = traffic.challenger
        rollout, logged = traffic.rollout or "", list[dict[str, Any]]()
        for _ in range(rows):
            event_id = str(uuid4())
            scores = {arm: float(draws.random()) for arm in versions}
            for arm, version in versions.items():
                broken = version == failing and draws.random() < share
                self.metrics.arm(version, arm, rollout).scored([None if broken else scores[arm]], slow=False)
            arm = traffic.arm(event_id)
            self.metrics.answered(versions[arm], arm, rollout, FeatureLevel.LIVE)
            logged.append(
                {
                    self.spec.data.event_id: event_id,
                    served.VERSION: versions[arm],
                    served.ARM: str(arm),
                    served.ROLLOUT: traffic.rollout,
                    served.CHAMPION_SCORE: scores[Arm.CHAMPION],
                    served.CHALLENGER_SCORE: scores.get(Arm.CHALLENGER, float("nan")),
                }
            )
        return pd.DataFrame(logged)

    def page(self, path: str) -> tuple[int, bytes]:
        if self.down or path not in ("/metrics", "/ready"):
            return 503 if self.down else 404, b"no"
        if path == "/ready":
            return 200, json.dumps({"ready": True, "problems": []}).encode()
        champion = self.services.registry.by_alias(self.spec.name, "champion")
        shown = [(self.spec.name, self.traffic.champion, "champion", "r")] if champion is not None else []
        self.metrics.state(ready=True, trouble=False, breaker_open=False, versions=shown)
        return 200, self.metrics.exposition()


@contextmanager
def serving(services: Services, spec: ModelSpec) -> Iterator[FakeServer]:
    """It listens on 127.0.0.1, and stands where running servers are looked for."""
    fake = FakeServer(services, spec)

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = fake.page(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class's naming

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.server_port}"
    folder = servers_folder(services.home, spec.name)
    try:
        with registered(folder, Server(url=url, pid=os.getpid(), started=datetime.now(UTC))):
            yield fake
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(5)
