"""The rules for Prometheus, tried by promtool: the load is foreseen where it grows, and an alert comes when it must."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import of_kind, rendered

LABELS = 'namespace="selfheal", model="payments"'


def series(rates: list[float]) -> str:
    """A counter that is looked at every 15 s, of these requests a second."""
    total, values = 0.0, list[str]()
    for rate in rates:
        total += 15 * rate
        values.append(f"{total:g}")
    return " ".join(values)


def tried(folder: Path, test: dict[str, Any]) -> str:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = of_kind(rendered("production"), "PrometheusRule")["selfheal-payments"]["spec"]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [{"interval": "15s", **test}]}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def load(rates: list[float], *expressions: str) -> dict[str, Any]:
    """Twenty minutes in, each expression must hold."""
    asked = [
        {
            "expr": f"({expression}) > bool -1",
            "eval_time": "20m",
            "exp_samples": [{"labels": f"{{{LABELS}}}", "value": 1}],
        }
        for expression in expressions
    ]
    counted = f'selfheal_requests_total{{{LABELS}, outcome="ok", pod="a"}}'
    return {"input_series": [{"series": counted, "values": series(rates)}], "promql_expr_test": asked}


def test_a_load_that_grows_is_foreseen_and_one_that_falls_is_not_forgotten(tmp_path: Path) -> None:
    growing = [number / 2 for number in range(100)]
    assert tried(tmp_path, load(growing, "predicted_load > 45", "selfheal:requests:rate1m < 41")) == ""
    falling = [50 - number / 2 for number in range(100)]
    assert tried(tmp_path, load(falling, "predicted_load == selfheal:requests:rate1m")) == ""
    assert "FAILED" in tried(tmp_path, load(growing, "predicted_load > 1000"))


def test_an_alert_comes_when_nobody_is_ready(tmp_path: Path) -> None:
    expected = {
        "exp_labels": {"severity": "critical", "model": "payments"},
        "exp_annotations": {"summary": "No server of payments is ready."},
    }
    alerts = [
        {"alertname": "SelfhealServersNotReady", "eval_time": "10m", "exp_alerts": []},
        {"alertname": "SelfhealServersNotReady", "eval_time": "16m", "exp_alerts": [expected]},
    ]
    ready = {"series": 'selfheal_ready{job="selfheal-payments-stable", pod="a"}', "values": "1x50 0x50"}
    assert tried(tmp_path, {"input_series": [ready], "alert_rule_test": alerts}) == ""
