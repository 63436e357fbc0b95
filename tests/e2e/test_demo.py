"""The demonstration as a user runs it: a real webserver, a real daemon, sensors doing all the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_demonstration_heals_on_a_real_daemon(tmp_path: Path) -> None:
    result = tmp_path / "demo.json"
    selfheal = Path(sys.executable).parent / "selfheal"
    finished = subprocess.run(
        [str(selfheal), "demo", "--home", str(tmp_path / "home"), "--rows", "2000", "--json", str(result)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("SELFHEAL", "DAGSTER"))},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-2000:]
    told = json.loads(result.read_text(encoding="utf-8"))
    assert told["ok"]
    assert told["rows"]["landed"] == told["rows"]["clean"] + told["rows"]["quarantined"] == 15 * 2000
    assert told["retrains_promoted"] == 1
    (healed,) = [i for i in told["incidents"] if i["action"] == "retrain"]
    assert healed["cause"] == "harmful_drift"
    assert healed["worst"] < healed["before"] - 0.1
    assert healed["after"] > healed["worst"] + 0.1
    assert [b["verdict"] for b in told["batches"] if b["fault"] == "unit_change"] == ["QUARANTINED"]
    assert "PASSED" in finished.stdout
