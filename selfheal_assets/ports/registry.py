"""Where model versions and their aliases are kept, and the values that cross. Never imports an adapter."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.learning import Model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One registered version."""

    model: str
    version: str
    run_id: str
    tags: Mapping[str, str]
    created_at: datetime
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Everything that is logged with a trained model."""

    decision_id: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    batch_ids: Sequence[str]
    data_hash: str
    sample: "pd.DataFrame"
    """A few feature rows, for the signature."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """More tags of the version and its run: what set it off, and who let it through."""


class ModelRegistry(Protocol):
    """Registered versions and their aliases: champion, challenger, previous."""

    def register(self, spec: ModelSpec, model: Model, candidate: Candidate) -> ModelVersion:
        """Log and register; alias challenger. The same decision id gives the version that stands already."""
        ...

    def by_alias(self, model: str, alias: str) -> ModelVersion | None: ...

    def versions(self, model: str) -> list[ModelVersion]:
        """All, newest first."""
        ...

    def load(self, version: ModelVersion) -> Model: ...

    def folder(self, version: ModelVersion) -> Path:
        """The version's files, on this machine."""
        ...

    def keep(self, version: ModelVersion, name: str, document: Mapping[str, Any]) -> None:
        """Put a JSON document beside the version's files, as `<name>.json`; the last one of a name stands."""
        ...

    def kept(self, version: ModelVersion, name: str) -> dict[str, Any] | None: ...

    def move_alias(self, model: str, alias: str, version: str, *, expected: str | None) -> None:
        """Compare-and-swap; AliasConflictError when `alias` is not on `expected`. Already on `version`: no change."""
        ...

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None: ...

    def link(self, version: ModelVersion) -> str:
        """Where a person looks at it."""
        ...


MlflowRun = Callable[[str], AbstractContextManager[None]]
"""From an experiment's name to the MLflow run that is linked to the present Dagster run, open for logging."""
