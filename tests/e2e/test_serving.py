"""A real server over a real home: the champion of the registry, features of Feast, answers that land as a batch."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import httpx
import pandas as pd
import pytest
from served import wait_for

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.serving.client import Client
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld
from selfheal_assets.wiring import Services

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def small(spec: ModelSpec) -> ModelSpec:
    training = replace(spec.training, trials=2, windows=(2,), min_rows=600, max_boost_rounds=40)
    gate = replace(spec.gate, metric_floor=0.6, margin=0.1, max_slice_drop=0.5, max_calibration_error=0.3)
    return replace(spec, training=training, gate=gate)


@pytest.fixture
def trained(home: Path) -> Services:
    """A home with a champion, and features of two batches."""
    services = initialise(home)
    spec = small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml"))
    landing = services.batches.landing("payments")
    list(simulate(PaymentsWorld(seed=3), [(0, "healthy"), (1, "healthy")], 900, landing))
    with dg.DagsterInstance.get() as instance:
        InProcessLoop(services, spec, instance).settle()
    assert services.registry.by_alias("payments", "champion") is not None
    return services


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    start = "from selfheal_assets.cli import app; app()"
    command = [sys.executable, "-c", start, "serve", "payments", "--port=0", *arguments]
    environment = {**os.environ, "SELFHEAL_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    with (home / "server.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=30.0).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_answers_of_the_champion_land_as_a_batch(trained: Services, workers: str) -> None:
    known = pd.read_parquet(next((trained.home / "features" / "payments").glob("payments-0001*.parquet")))
    account, when = known["account_id"].iloc[-1], known["event_timestamp"].max()
    row = {
        "account_id": account,
        "merchant_category": "grocery",
        "channel": "web",
        "device": "ios",
        "country": "DE",
        "amount": 12.5,
        "distance_km": 3.0,
        "account_age_days": None,
        "event_timestamp": when,
    }
    rows = [{**row, "payment_id": f"p{number}", "amount": 10.0 + number} for number in range(30)]
    with serving(trained.home, "--workers", workers) as (url, process):
        wait_for(lambda: is_ready(url), 120.0)
        with Client(url, deadline_s=30.0, event_id="payment_id") as client:
            answers = [client.predict([one])[0] for one in rows]
            assert client.predict([{**row, "account_id": "nobody"}])[0].level == "live"
        counted = httpx.get(f"{url}/metrics", timeout=30.0).text
        assert 'selfheal_requests_total{model="payments",outcome="ok"} 31.0' in counted
        shown = httpx.get(f"{url}/model", timeout=30.0).json()
        process.terminate()
        assert process.wait(60) == 0, (trained.home / "server.log").read_text(encoding="utf-8")
    champion = trained.registry.by_alias("payments", "champion")
    assert champion is not None
    assert (shown["version"], shown["run_id"]) == (champion.version, champion.run_id)
    landed = pd.concat([pd.read_parquet(file.path) for file in trained.batches.landed("payments")])
    assert len(landed) == 31
    scores = landed.set_index("payment_id")["selfheal_score"]
    assert {answer.event_id: answer.score for answer in answers}.items() <= scores.to_dict().items()
    assert set(landed["selfheal_level"]) == {"live"}
    assert not list((trained.home / "serving" / "payments" / "servers").iterdir())
    assert all(json.loads(line) for line in (trained.home / "server.log").read_text(encoding="utf-8").splitlines())
