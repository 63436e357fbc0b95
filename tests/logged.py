"""Build what a test of the prediction log needs: a model, its columns, answered rows, and what has landed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import FeatureLevel, Logged
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.serving.served_table import LoggedColumns

EVENT = {
    "id": "string",
    "at": "timestamp",
    "who": "string",
    "amount": "number",
    "age": "integer",
    "vip": "boolean",
    "label": "integer",
}
FEATURES = {"amount_mean": "number", "visits": "integer", "country": "string", "last_at": "timestamp"}
PAYMENTS = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")


def spec(**serving: Any) -> ModelSpec:
    """The model `payments`, with that `serving`."""
    return replace(PAYMENTS, serving=replace(PAYMENTS.serving, **{"commit_ms": 20.0, **serving}))


def columns() -> LoggedColumns:
    return LoggedColumns(event_id="id", event=EVENT, features=FEATURES)


def logged(event_id: str, **changes: Any) -> Logged:
    event = {"id": event_id, "at": "2026-03-01T12:00:00.123456Z", "who": "ada", "amount": 12.5, "age": 7, "vip": True}
    features = {"amount_mean": 3.25, "visits": 4, "country": "DE", "last_at": None}
    whole: dict[str, Any] = {
        "event": event,
        "features": features,
        "version": "3",
        "arm": Arm.CHAMPION,
        "score": 0.25,
        "level": FeatureLevel.LIVE,
        "latency_ms": 2.5,
        "scores": {Arm.CHAMPION: 0.25},
    }
    return Logged(**{**whole, **changes})


def with_values(event_id: str, event: dict[str, Any], features: dict[str, Any] | None = None) -> Logged:
    """A row with other values in some columns."""
    plain = logged(event_id)
    return replace(plain, event={**plain.event, **event}, features={**plain.features, **(features or {})})


def landing(home: Path) -> Path:
    return home / "landing" / "payments"


def files(home: Path) -> list[Path]:
    """What a sender's rename has put in place."""
    return sorted(path for path in landing(home).glob("*") if not path.name.startswith("."))


def landed(home: Path) -> pd.DataFrame:
    """The rows of all landed files, in order."""
    found = [pd.read_parquet(path) for path in files(home)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame({"id": []})


def log_folder(home: Path) -> Path:
    return home / "serving" / "payments" / "log"


def left(home: Path) -> list[str]:
    """Files in the log folder that no one has landed."""
    return sorted(path.name for path in log_folder(home).glob("*"))
