"""Make a home with a champion that can be served in four ways, and requests for each: a folder in, files out.

Run as a script, so that what training imports is not in the process that measures. Never measures.
"""

import json
import os
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fresh_process import say, wait_for_turn

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from selfheal_assets.adapters.xgboost_trainer import XGBoostModel
    from selfheal_assets.core.model_spec import ModelSpec
    from selfheal_assets.wiring import Services

MODEL, WHOLE = "payments", "payments_whole"
"""The declared model, and one of the same trees whose requests carry every column, so that nothing is looked up."""
DEFS = """type: selfheal_assets.components.self_healing_model.SelfHealingModel
attributes:
  name: {name}
  description: The payments model with every column in the request
  owners: ["team:benchmarks"]
  data: {{event_id: payment_id, event_timestamp: event_timestamp, label: is_fraud, entities: [account_id]}}
  features:
    service: {name}_v1
    request: [{request}]
    categorical: [{categorical}]
"""
SERVICE = '''"""Nothing is kept and nothing is computed: the request has it."""

from feast import FeatureService

whole_v1 = FeatureService(name="{name}_v1", features=[])
'''
CHECKS = """version: 2
models:
  - name: {name}
    columns:
      - name: account_id
        data_type: string
"""
ROWS = 2_500
REQUESTS = 500
MOVED_LOGIT = 0.2
"""By which the second version's scores differ from the first one's."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where things stand in the folder."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def overlay(self) -> Path:
        return self.folder / "overlay"

    @property
    def mlflow_model(self) -> Path:
        return self.folder / "mlflow_model"

    @property
    def requests(self) -> Path:
        """What is asked, and who stands in the registry: JSON."""
        return self.folder / "requests.json"

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.requests.read_text(encoding="utf-8"))
        return found


def prepare(place: Place) -> None:
    """A champion by the real loop; a second version; the same trees for a model without lookups, and for MLflow."""
    spec = write_overlay(place.overlay)
    os.environ["SELFHEAL_OVERLAYS"] = str(place.overlay)
    from selfheal_assets.operations.home import initialise
    from selfheal_assets.simulator.landing import simulate
    from selfheal_assets.simulator.payments import PaymentsWorld

    services = initialise(place.home)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    landing = services.batches.landing(MODEL)
    plan = [(0, "healthy"), (1, "healthy")]
    list(simulate(PaymentsWorld(seed=7), plan, ROWS, landing, epoch=today - timedelta(days=1)))
    _settle(services, spec)
    rows = asked_rows(services, spec)
    champion = services.registry.by_alias(MODEL, "champion")
    assert champion is not None, "the first candidate must pass its gates"
    model: Any = services.registry.load(champion)
    frame = _frame(rows, model)
    second = _register(services, spec, services.trainer.recalibrate(model, MOVED_LOGIT), frame, "second")
    plain = _register(services, whole_spec(place.overlay), model, frame, "whole")
    services.registry.move_alias(WHOLE, "champion", plain, expected=None)
    _log_to_mlflow(model, frame, place.mlflow_model)
    encoded = model.schema.encode(frame)
    told = {
        "rows": [{name: row[name] for name in ("account_id", *spec.features.request)} for row in rows],
        "whole": [{name: row[name] for name in ("account_id", *model.schema.names)} for row in rows],
        "encoded": {"columns": list(model.schema.names), "data": encoded.astype(float).tolist()},
        "scores": model.score(frame).tolist(),
        "versions": [champion.version, second],
        "files": str(services.registry.folder(champion)),
        "trees": model.best_iteration + 1,
    }
    place.requests.write_text(json.dumps(told), encoding="utf-8")


def write_overlay(root: Path) -> "ModelSpec":
    """Declare the model without lookups; the spec of the one with them, with gates that a first candidate passes."""
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.project import MODELS, PROJECT

    spec = load_spec(PROJECT / MODELS / MODEL / "defs.yaml")
    stored = ("payments_1h", "amount_mean_30d", "amount_max_6h", "distinct_merchants_6h", "seconds_since_previous")
    request = ", ".join((*spec.features.request, *stored, "amount_ratio", "log_amount"))
    files = {
        f"models/{WHOLE}/defs.yaml": DEFS.format(
            name=WHOLE, request=request, categorical=", ".join(spec.features.categorical)
        ),
        f"feature_repo/views/{WHOLE}.py": SERVICE.format(name=WHOLE),
        f"dbt_like_checks/{WHOLE}.yml": CHECKS.format(name=WHOLE),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    training = replace(spec.training, trials=3, windows=(2,), max_boost_rounds=200)
    gate = replace(spec.gate, metric_floor=0.6, margin=0.1, max_slice_drop=0.5, max_calibration_error=0.3)
    return replace(spec, training=training, gate=gate)


def whole_spec(root: Path) -> "ModelSpec":
    from selfheal_assets.components.declaration import load_spec

    return load_spec(root / "models" / WHOLE / "defs.yaml")


def _settle(services: "Services", spec: "ModelSpec") -> None:
    import dagster as dg

    from selfheal_assets.operations.in_process import InProcessLoop

    with dg.DagsterInstance.get() as instance:
        InProcessLoop(services, spec, instance).settle()


def asked_rows(services: "Services", spec: "ModelSpec") -> list[dict[str, Any]]:
    """Payments of the last batch with the features that the online store has for them; those without a missing one."""
    import pandas as pd

    from selfheal_assets.adapters.feast_serving import FeastOnline

    kept = sorted((services.home / "batches" / MODEL / "clean").glob("*.parquet"))[-1]
    frame = pd.read_parquet(kept).tail(4 * REQUESTS)
    columns = frame[["account_id", *spec.features.request]].astype(object)
    given = {str(name): columns[name].where(columns[name].notna(), None).tolist() for name in columns}
    store = FeastOnline(spec, services.home, services.roots)
    found = store.fetch({"account_id": given["account_id"]}, datetime.now(UTC))
    found |= store.on_demand(found, given)
    rows = [
        dict(zip((*given, *found), values, strict=True))
        for values in zip(*given.values(), *found.values(), strict=True)
    ]
    whole = [row for row in rows if None not in row.values()][:REQUESTS]
    assert len(whole) >= REQUESTS // 4, "too few payments have every feature"
    return whole


def _frame(rows: list[dict[str, Any]], model: "XGBoostModel") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({name: [row[name] for row in rows] for name in model.schema.names})


def _register(services: "Services", spec: "ModelSpec", model: Any, frame: "pd.DataFrame", decision: str) -> str:
    """A version as it stands after its validation."""
    from selfheal_assets.ports import Candidate
    from selfheal_assets.stages.golden_probe import keep_probe

    candidate = Candidate(
        decision_id=f"benchmark-{decision}",
        parameters=dict(model.parameters),
        metrics={},
        batch_ids=("benchmark",),
        data_hash="benchmark",
        sample=frame.head(5),
    )
    version = services.registry.register(spec, model, candidate)
    scores: np.ndarray = model.score(frame)
    keep_probe(services.registry, version, frame, scores)
    return version.version


def _log_to_mlflow(model: "XGBoostModel", frame: "pd.DataFrame", folder: Path) -> None:
    """As MLflow's own flavour has it. It cannot code categories: its requests bring the codes."""
    import mlflow.xgboost
    import pandas as pd
    from mlflow.models import infer_signature

    encoded = pd.DataFrame(model.schema.encode(frame).astype(float), columns=list(model.schema.names))
    signature = infer_signature(encoded, model.score(frame))
    mlflow.xgboost.save_model(model.booster, str(folder), signature=signature, pip_requirements=["xgboost"])


if __name__ == "__main__":
    wait_for_turn()
    prepare(Place(folder=Path(sys.argv[1])))
    say(done=True)
