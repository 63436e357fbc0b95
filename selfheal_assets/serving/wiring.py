"""From the environment to a model server's application. The only module of the server that names an adapter class."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.rollout_traffic import traffic
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports import Clock, Ledger, ModelRegistry
from selfheal_assets.ports.serving import OnlineStore
from selfheal_assets.project import check_folders, roots_from_environment
from selfheal_assets.serving.logs import configure_logs
from selfheal_assets.serving.parts import Parts, RowTypes
from selfheal_assets.serving.schemas import KINDS, row_types
from selfheal_assets.serving.settings import METRICS, MODEL, Folders, admin_token, served_spec
from selfheal_assets.settings import Settings, embedded, settings_from_environment

if TYPE_CHECKING:
    from fastapi import FastAPI

    from selfheal_assets.adapters.places import Places
    from selfheal_assets.serving.follower import Follower
    from selfheal_assets.serving.served_table import LoggedColumns

QUIET = {
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
CHAMPION = "champion"


def app_from_environment() -> "FastAPI":
    """Of one process; what uvicorn calls in each. Raises SelfhealError when the declarations or stores do not do."""
    from selfheal_assets.serving.app import create_app

    configure_logs()
    # Read before Feast is imported: it sets the same variable, to a folder of its own.
    metrics_folder, roots = os.environ.get(METRICS), roots_from_environment()
    spec = served_spec(os.environ[MODEL], roots)
    settings = settings_from_environment()
    return create_app(build_parts(spec, settings.home, roots, metrics_folder, settings))


def build_parts(
    spec: ModelSpec,
    home: Path,
    roots: tuple[Path, ...],
    metrics_folder: str | None,
    settings: Settings | None = None,
) -> Parts:
    """The parts of a server over a home, and over the services that `settings` name. The registry may be away: what
    was served last stands in."""
    from selfheal_assets.adapters.clocks import SystemClock
    from selfheal_assets.adapters.column_types import load_types
    from selfheal_assets.adapters.feast_serving import FeastOnline
    from selfheal_assets.adapters.places import Places
    from selfheal_assets.serving.features import FeatureResolver
    from selfheal_assets.serving.prediction_log import PredictionLog

    places = Places(settings or embedded(home))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(places.environment())
    clock = SystemClock()
    store = FeastOnline(spec, home, roots, places.feast)
    declared = load_types(check_folders(roots), spec)
    types = row_types(spec, dict(store.entity_types), dict(store.request_types), declared)
    return Parts(
        spec=spec,
        types=types,
        clock=clock,
        lines=_follower(spec, home, places, clock),
        features=FeatureResolver(spec, store, clock),
        asks_store=bool(store.stored),
        log=PredictionLog(home, spec, logged_columns(spec, types, store), clock, relay=places.files().relay),
        token=admin_token(),
        metrics_folder=metrics_folder,
    )


def _follower(spec: ModelSpec, home: Path, places: "Places", clock: Clock) -> "Follower":
    from selfheal_assets.adapters.mlflow_registry import MlflowRegistry
    from selfheal_assets.adapters.sql_ledger import SqlLedger
    from selfheal_assets.adapters.xgboost_trainer import load_model
    from selfheal_assets.serving.follower import Follower
    from selfheal_assets.serving.loading import Loader
    from selfheal_assets.serving.model_cache import ModelCache

    registry = MlflowRegistry(places.tracking_uri, places.artifacts, places.alone)
    ledger = SqlLedger(places.ledger_url)
    own = Folders(home=home, model=spec.name).root
    cache = ModelCache(own / "models")
    loader = Loader(spec.name, registry=registry, read=load_model, cache=cache, clock=clock)
    return Follower(partial(wanted_traffic, spec.name, registry, ledger), loader, own / "line.json", clock)


def wanted_traffic(model: str, registry: ModelRegistry, ledger: Ledger) -> Traffic | None:
    """Who is to serve by the registry and the newest rollout; None without a champion."""
    champion = registry.by_alias(model, CHAMPION)
    newest = ledger.newest(model, RecordKind.ROLLOUT)
    return traffic(champion.version if champion is not None else None, newest[0] if newest else None)


def logged_columns(spec: ModelSpec, types: RowTypes, store: OnlineStore) -> "LoggedColumns":
    """The columns of a landed batch of answers: those of a request's row, and the features that it did not have."""
    from selfheal_assets.serving.served_table import LoggedColumns

    row = {
        spec.data.event_id: types.event_id,
        spec.data.event_timestamp: "timestamp",
        **types.entities,
        **types.request,
        **types.context,
    }
    event = {name: _logged_kind(kind) for name, kind in row.items()}
    others = [name for name in store.names() if name not in event]
    features = {name: "string" if name in spec.features.categorical else "number" for name in others}
    return LoggedColumns(event_id=spec.data.event_id, event=event, features=features)


def _logged_kind(kind: str) -> str:
    known = KINDS[kind.lower()]
    return "number" if known == "float" else known
