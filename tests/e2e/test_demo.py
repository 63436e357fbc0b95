"""The demonstration as a user runs it: a real webserver, daemon and model server, sensors doing all the work."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demonstration_heals_on_a_real_daemon(tmp_path: Path) -> None:
    result = tmp_path / "demo.json"
    selfheal = Path(sys.executable).parent / "selfheal"
    finished = subprocess.run(
        [str(selfheal), "demo", "--home", str(tmp_path / "home"), "--rows", "2000", "--json", str(result)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("SELFHEAL", "DAGSTER"))},
        capture_output=True,
        text=True,
        timeout=880,
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
    check_serving(told["serving"])


def check_serving(served: dict[str, Any]) -> None:
    """Every number is told, and every goal of correctness met; times depend on the machine, and are bounded widely."""
    assert served["requests"] > 500
    assert sum(served["levels"].values()) == served["rows"] == 8 * served["requests"]
    assert served["failed"] == served["killed"]["failed"]
    assert served["good"]["states"] == ["SHADOW", "STEP", "BAKE", "PROMOTED"]
    assert (served["bad"]["states"][-1], served["bad"]["verdict"]) == ("ABORTED", "FAIL")
    assert served["bad"]["rows_answered"] == served["exposed_to_bad"] < served["rows"] / 4
    assert served["champion"] == served["good"]["version"] != served["bad"]["version"]
    assert served["taken"]["first_to_last_s"] < 4 * served["goals_s"]["rolled_back"]
    assert served["taken"]["verdict_to_last_s"] < 4 * served["goals_s"]["last_server_back"]
    assert served["store"]["seconds"] >= 20.0
    assert served["store"]["answered"] > 0 == served["store"]["failed"]
    assert served["store"]["levels"]["cached"] > served["store"]["levels"].get("live", 0)
    assert served["killed"]["successor"] not in (None, served["killed"]["pid"])
    logged = served["logged"]
    assert logged["missing"] == 0
    assert logged["rows"] == served["rows"] - logged["in_commit_window"] + logged["unanswered"]
    # Of a machine that is busy there may be more than one.
    assert {cause: set(states) for cause, states in served["incidents"].items()} == {
        "bad_release": {"ROLLED_BACK"},
        "feature_store_fault": {"RESOLVED"},
        "serving_fault": {"RESOLVED"},
    }
