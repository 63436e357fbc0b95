"""Registered toy models with golden probes, for tests of who serves them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from set_clock import SetClock

from selfheal_assets.adapters.in_memory import InMemoryRegistry
from selfheal_assets.adapters.mlflow_registry import MlflowRegistry
from selfheal_assets.adapters.xgboost_trainer import XGBoostModel, XGBoostTrainer, load_model
from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports import Candidate, LabelledRows, Model, ModelRegistry, ModelVersion, TunedParameters
from selfheal_assets.serving.follower import Follower
from selfheal_assets.serving.loading import Loader
from selfheal_assets.serving.model_cache import ModelCache
from selfheal_assets.stages.golden_probe import keep_probe

ROWS = pd.DataFrame({"amount": np.tile(np.linspace(-2.0, 2.0, 40), 6), "distance": np.tile([0.0, 1.0, 2.0], 80)})
COLUMNS = {"amount": [-1.5, 1.5, None], "distance": [0.0, 1.0, 2.0]}
SPEC = ModelSpec(
    name="toy",
    description="A learnable toy.",
    owners=("team:tests",),
    data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
    features=FeaturesSpec(service="toy"),
    training=TrainingSpec(min_rows=200, max_boost_rounds=3),
)


def trained(threshold: float) -> XGBoostModel:
    """Another threshold, another model."""
    rows = LabelledRows(
        features=ROWS,
        label=(ROWS["amount"] > threshold).astype(int).to_numpy(),
        event_id=np.arange(len(ROWS)),
        batch_id=np.repeat("b0", len(ROWS)),
        event_time=np.datetime64("2026-01-01", "us") + np.arange(len(ROWS)),
    )
    return XGBoostTrainer().train(SPEC, rows, TunedParameters(parameters={"max_depth": 2}, window=1, score=1.0))


def release(registry: ModelRegistry, threshold: float, *, probed: bool = True) -> ModelVersion:
    """A version as it stands after its validation."""
    model = trained(threshold)
    candidate = Candidate(
        decision_id=f"decision-{threshold}-{probed}",
        parameters={"max_depth": 2},
        metrics={},
        batch_ids=("b0",),
        data_hash="abc123",
        sample=ROWS.head(5),
    )
    version = registry.register(SPEC, model, candidate)
    if probed:
        keep_probe(registry, version, ROWS, model.score(ROWS))
    return version


def promote(registry: ModelRegistry, version: ModelVersion) -> None:
    standing = registry.by_alias("toy", "champion")
    registry.move_alias("toy", "champion", version.version, expected=standing.version if standing else None)


@dataclass
class Reader:
    """`load_model`, counted."""

    read: list[str] = field(default_factory=list)

    def __call__(self, folder: Path) -> Model:
        self.read.append(folder.name)
        return load_model(folder)


class Outage(InMemoryRegistry):
    """A registry that can be down."""

    down = False

    def versions(self, model: str) -> list[ModelVersion]:
        if self.down:
            raise RegistryError("the registry must answer; received nothing. Start it.")
        return super().versions(model)


@dataclass
class Server:
    """A follower of the toy model as a server has it, and what it is asked for."""

    registry: ModelRegistry
    folder: Path
    clock: SetClock = field(default_factory=SetClock)
    reader: Reader = field(default_factory=Reader)
    traffic: Traffic | Exception | None = None
    """What is wanted; None: the champion's alias."""

    def wanted(self) -> Traffic | None:
        if isinstance(self.traffic, Exception):
            raise self.traffic
        if self.traffic is not None:
            return self.traffic
        champion = self.registry.by_alias("toy", "champion")
        return Traffic(champion=champion.version) if champion else None

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def loader(self) -> Loader:
        cache = ModelCache(self.cache)
        return Loader("toy", registry=self.registry, read=self.reader, cache=cache, clock=self.clock)

    def follower(self, **settings: float) -> Follower:
        return Follower(self.wanted, self.loader(), self.folder / "line.json", self.clock, **settings)


def mlflow_registry(folder: Path) -> MlflowRegistry:
    registry = MlflowRegistry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    if not (folder / "mlflow.db").exists():
        registry.initialise(["toy"])
    return registry
