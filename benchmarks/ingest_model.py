"""Declare the ingest benchmark's model in an overlay, and draw its batches: 20 columns, 25 checks. Never measures."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MODEL = "bench"
NUMBERS = tuple(f"number_{place:02d}" for place in range(1, 13))
CATEGORIES = tuple(f"category_{place}" for place in range(1, 5))
LEVELS = ("red", "green", "blue", "black", "white")
ACCOUNTS = 10_000
BAD_ROW_SHARE = 0.001
"""Of number_01, out of its range: those rows go to quarantine, as in life."""
EPOCH, WINDOW = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=6)

DEFS = f"""type: selfheal_assets.components.self_healing_model.SelfHealingModel
attributes:
  name: {MODEL}
  description: The ingest benchmark's model
  owners: ["team:benchmarks"]
  data: {{event_id: event_id, event_timestamp: event_timestamp, label: label, entities: [account_id]}}
  features:
    service: {MODEL}_v1
    request: [{", ".join(NUMBERS + CATEGORIES)}]
    categorical: [{", ".join(CATEGORIES)}]
  drift: {{detector: DETECTOR, min_importance_share: 0.0}}
  training: {{trials: 1, windows: [2], min_rows: 2000, max_boost_rounds: 30}}
  gate: {{metric_floor: 0.5, max_calibration_error: 0.5}}
"""
VIEW = f'''"""The account's last six hours."""

from datetime import timedelta

from entities import account
from feast import FeatureService, FeatureView, Field
from feast.types import Float64, Int64, String
from sources import history_source

bench_history = FeatureView(
    name="{MODEL}_history",
    entities=[account],
    ttl=timedelta(hours=12),
    schema=[
        Field(name="account_id", dtype=String),
        Field(name="events_6h", dtype=Int64),
        Field(name="number_mean_6h", dtype=Float64),
        Field(name="number_max_6h", dtype=Float64),
    ],
    source=history_source("{MODEL}"),
)
bench_v1 = FeatureService(name="{MODEL}_v1", features=[bench_history])
'''
TRANSFORM = """WITH bounds AS (
    SELECT min(event_timestamp) - INTERVAL 6 HOUR AS since, max(event_timestamp) AS until FROM batch
),
events AS (
    SELECT account_id, event_timestamp, number_01, number_02, TRUE AS in_batch FROM batch
    UNION ALL
    SELECT account_id, event_timestamp, number_01, number_02, FALSE FROM history
    WHERE event_timestamp BETWEEN (SELECT since FROM bounds) AND (SELECT until FROM bounds)
),
windowed AS (
    SELECT *,
        count(*) OVER recent AS events_6h,
        avg(number_01) OVER recent AS number_mean_6h,
        max(number_02) OVER recent AS number_max_6h
    FROM events
    WINDOW recent AS (PARTITION BY account_id ORDER BY event_timestamp
        RANGE BETWEEN INTERVAL 6 HOUR PRECEDING AND CURRENT ROW)
)
SELECT account_id, event_timestamp + INTERVAL 1 MICROSECOND AS event_timestamp,
    events_6h, number_mean_6h, number_max_6h
FROM windowed WHERE in_batch
"""


def write_overlay(root: Path, detector: str) -> Path:
    """A declaration root: `models/`, `feature_repo/` and `dbt_like_checks/`."""
    files = {
        f"models/{MODEL}/defs.yaml": DEFS.replace("DETECTOR", detector),
        f"feature_repo/views/{MODEL}.py": VIEW,
        f"feature_repo/transforms/{MODEL}.sql": TRANSFORM,
        f"dbt_like_checks/{MODEL}.yml": _checks(),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def _checks() -> str:
    """25 tests in dbt's schema syntax."""
    in_range = "accepted_range: {arguments: {min_value: -12, max_value: 12}}"
    one_of = f"accepted_values: {{arguments: {{values: [{', '.join(LEVELS)}]}}}}"
    tests: dict[str, tuple[str, ...]] = {
        "event_id string": ("not_null", "unique"),
        "event_timestamp timestamp": ("not_null",),
        "account_id string": ("not_null",),
        "label integer": ("accepted_values: {arguments: {values: [0, 1]}}", "max_missing: {arguments: {share: 0.5}}"),
        "number_01 float": (
            "not_null",
            in_range,
            "mean_between_reference: {arguments: {max_shift_sd: 5}}",
            "quantile_between_reference: {arguments: {quantile: 0.5, max_shift_sd: 5}}",
        ),
        "number_02 float": ("not_null", "finite", in_range),
        **{f"{name} float": (in_range,) for name in NUMBERS[2:6]},
        **{f"{name} float": () for name in NUMBERS[6:]},
        **{f"{name} string": (one_of,) for name in CATEGORIES},
    }
    lines = ["version: 2", "models:", f"  - name: {MODEL}", "    data_tests:"]
    lines += [f"      - {test}" for test in ("column_set", "column_types")]
    lines += ["      - row_count: {arguments: {min_value: 100, max_value: 5000000}}"]
    lines += ["      - freshness: {arguments: {max_age_hours: 1000000}, config: {severity: warn}}", "    columns:"]
    for column, listed in tests.items():
        name, kind = column.split()
        lines += [f"      - name: {name}", f"        data_type: {kind}"]
        lines += ["        data_tests:"] if listed else []
        lines += [f"          - {test}" for test in listed]
    return "\n".join(lines) + "\n"


def batch(index: int, rows: int) -> "pd.DataFrame":
    """The batch of six hours with that place in time; the same arguments give the same rows."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng([index, rows])
    numbers = {name: rng.normal(size=rows) for name in NUMBERS}
    categories = {name: np.array(LEVELS, dtype=object)[rng.integers(0, len(LEVELS), rows)] for name in CATEGORIES}
    chance = 1.0 / (1.0 + np.exp(1.0 - 1.5 * numbers["number_01"] - (categories["category_1"] == "red")))
    offsets = np.sort(rng.integers(0, round(WINDOW.total_seconds() * 1e6), rows)).astype("timedelta64[us]")
    start = np.datetime64((EPOCH + index * WINDOW).replace(tzinfo=None), "us")
    accounts = np.array([f"a-{number}" for number in range(ACCOUNTS)], dtype=object)
    label = (rng.random(rows) < chance).astype("int64")
    numbers["number_01"][rng.random(rows) < BAD_ROW_SHARE] = 99.0
    return pd.DataFrame(
        {
            "event_id": [f"e-{index}-{row}" for row in range(rows)],
            "event_timestamp": pd.DatetimeIndex(start + offsets, tz="UTC"),
            "account_id": accounts[rng.integers(0, ACCOUNTS, rows)],
            **numbers,
            **categories,
            "label": label,
        }
    )
