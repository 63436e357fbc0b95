"""The Protocols that stages and sensors speak to, and the values that cross them. Never imports an adapter."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check, CheckOutcome
from selfheal_assets.core.record import Record, RecordKind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, UTC-aware."""
        ...


class Ledger(Protocol):
    """The append-only record of what was seen, decided and done."""

    def append(self, *records: Record) -> int:
        """Store those whose key is new, all or none; the number stored."""
        ...

    def newest(
        self, model: str, kind: RecordKind, *, subject: str | None = None, status: str | None = None, limit: int = 1
    ) -> list[Record]:
        """At most `limit` records, the last written first."""
        ...

    def after(self, model: str, kind: RecordKind, sequence: int, limit: int) -> list[Record]:
        """At most `limit` records written after `sequence`, in the order of writing."""
        ...

    def current(self, model: str, kind: RecordKind, subjects: Sequence[str]) -> dict[str, Record]:
        """The last record of the kind for each of the subjects that has one."""
        ...

    def recent_subjects(self, model: str, kind: RecordKind, *, statuses: Sequence[str], limit: int) -> list[Record]:
        """The last record of each subject whose status is among `statuses`, newest event time first."""
        ...

    def open_batches(self, model: str, limit: int) -> list[Record]:
        """The last registration of each batch that was not closed since it was registered, or released, last.

        Oldest event time first.
        """
        ...


class BatchStore(Protocol):
    """Batches, quarantine and documents as durable files; every write puts a file in place whole."""

    def landing(self, model: str) -> Path: ...

    def landed(self, model: str) -> "list[LandedFile]":
        """Files in place in the landing folder, by name."""
        ...

    def batch_id(self, file: Path) -> str:
        """Unique by name and content; safe as a file name, a partition key and a tag."""
        ...

    def first_event_time(self, file: Path, column: str) -> datetime | None:
        """The earliest event time that can be had without reading the rows."""
        ...

    def take(self, model: str, batch_id: str, name: str, types: Mapping[str, str]) -> "pd.DataFrame":
        """Turn the landed file into the raw batch, and only then remove it."""
        ...

    def read_file(self, file: Path, types: Mapping[str, str]) -> "pd.DataFrame":
        """Any CSV or Parquet file as a typed table; UnreadableFile when it is none."""
        ...

    def drop_duplicate(self, model: str, name: str, batch_id: str) -> bool: ...

    def path(self, model: str, stage: str, batch_id: str) -> Path: ...

    def has(self, model: str, stage: str, batch_id: str) -> bool: ...

    def read(self, model: str, stage: str, batch_id: str) -> "pd.DataFrame": ...

    def write(self, model: str, stage: str, batch_id: str, frame: "pd.DataFrame") -> Path: ...

    def remove(self, model: str, stage: str, batch_id: str) -> None: ...

    def earlier(self, model: str, batch_id: str) -> "Callable[[str, pd.Series], pd.Series]":
        """A look-up over all other clean batches: which of the values stand in that column."""
        ...

    def quarantine(self, model: str, batch_id: str) -> Path: ...

    def write_quarantine(
        self, model: str, batch_id: str, rows: "pd.DataFrame | None", reason: Mapping[str, Any]
    ) -> Path: ...

    def read_quarantine(self, model: str, batch_id: str) -> "tuple[pd.DataFrame | None, dict[str, Any]]": ...

    def quarantine_whole(self, model: str, batch_id: str, name: str, reason: str) -> int:
        """Keep a batch that could not be ingested, as landed or as raw; the rows, 0 when they cannot be counted."""
        ...

    def retire_quarantine(self, model: str, batch_id: str) -> None: ...

    def write_document(self, model: str, name: str, content: Mapping[str, Any]) -> Path: ...

    def read_document(self, model: str, name: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A file that has been put in place in the landing folder."""

    path: Path
    size_bytes: int
    landed_at: datetime


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """What a check may need beside the batch's rows."""

    model: str
    batch_id: str
    now: datetime
    event_timestamp: str
    reference: "pd.DataFrame | None"
    """The champion's reference rows, or None before the first champion."""
    earlier: "Callable[[str, pd.Series], pd.Series]"
    """(column, values) -> boolean Series: which values stand in that column of an earlier clean batch."""


class QualityChecks(Protocol):
    """Evaluates declared checks over a batch."""

    def evaluate(self, frame: "pd.DataFrame", checks: Sequence[Check], context: CheckContext) -> list[CheckOutcome]:
        """One outcome a check, in the order of `checks`; an error is an ERRORED outcome, not an exception."""
        ...

    def report_uri(self, model: str) -> str | None:
        """Where a person reads the last report of the model, or None when there is none yet."""
        ...


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one batch added to the feature store."""

    offline_rows: Mapping[str, int]
    """Rows written, by feature view."""
    online_rows: int
    """Entities refreshed in the online store."""
    materialized_until: datetime | None
    """Event time up to which the online store is fresh."""


class FeatureStore(Protocol):
    """Point-in-time features of a model."""

    def names(self, spec: ModelSpec) -> list[str]:
        """The model's features in order: request columns, then those of the feature service."""
        ...

    def publish(self, spec: ModelSpec, batch_id: str, rows: "pd.DataFrame") -> Published:
        """Compute and add the batch's features, offline and online. Twice changes nothing."""
        ...

    def historical(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Features as they were known at each row's event time: one row out for each in, same order and index.

        `rows` has the event id, timestamp, entities and request columns; the result has those of `names` only.
        """
        ...

    def online(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Features as they are now, for entities and request columns; same shape rules as `historical`."""
        ...


@dataclass(frozen=True, kw_only=True)
class TwoSampleTest:
    """One feature's answer."""

    test: str
    statistic: float
    p_value: float


class DriftDetector(Protocol):
    """Two-sample tests, one a feature. Sees complete values only: the caller handles missing ones."""

    def compare(
        self, reference: "pd.DataFrame", batch: "pd.DataFrame", categorical: Sequence[str]
    ) -> dict[str, TwoSampleTest]:
        """Kolmogorov-Smirnov for numbers, chi-squared for categories; both frames have the same columns."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Rows to learn from, oldest first. All of length n."""

    features: "pd.DataFrame"
    """(n, features); categories as pandas strings, numbers as float."""
    label: "np.ndarray"
    """(n,) of 0 and 1."""
    event_id: "np.ndarray"
    batch_id: "np.ndarray"
    event_time: "np.ndarray"
    """(n,) datetime64[us], UTC."""


@dataclass(frozen=True, kw_only=True)
class TunedParameters:
    """The result of a study."""

    parameters: Mapping[str, float | int]
    """XGBoost's own names."""
    window: int
    """Number of most recent batches to train on."""
    score: float
    """The metric on the tuning validation rows."""
    trials: Sequence[Mapping[str, Any]] = ()
    """One row a trial: number, state, score, window, parameters, seconds."""
    history: Mapping[str, Any] = field(default_factory=dict)


class Tuner(Protocol):
    def tune(
        self, spec: ModelSpec, study: str, rows: LabelledRows, warm_start: Mapping[str, Any] | None
    ) -> TunedParameters:
        """Search parameters and window on `rows` (without the holdout). The same study name resumes."""
        ...


class Model(Protocol):
    """A fitted binary classifier."""

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    def score(self, features: "pd.DataFrame") -> "np.ndarray":
        """(n,) probabilities of the label 1; unseen categories count as missing."""
        ...

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature; sums to 1 (empty for a model without splits)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model as files that need no pickle."""
        ...


class Trainer(Protocol):
    def train(self, spec: ModelSpec, rows: LabelledRows, tuned: TunedParameters) -> Model:
        """Fit on the tuned window of `rows`, early-stopped on the most recent part of it."""
        ...

    def reload_scores(self, folder: Path, features: "pd.DataFrame") -> "np.ndarray":
        """Scores of a saved model, loaded by a fresh Python process."""
        ...


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

    def move_alias(self, model: str, alias: str, version: str, *, expected: str | None) -> None:
        """Compare-and-swap; raises AliasConflict when `alias` is not on `expected`. Already on `version`: no change."""
        ...

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None: ...

    def link(self, version: ModelVersion) -> str:
        """Where a person looks at it."""
        ...


class Notifier(Protocol):
    def notify(self, model: str, title: str, body: str) -> None:
        """Tell people. Never raises: a dead receiver does not stop healing."""
        ...


MlflowRun = Callable[[str], AbstractContextManager[None]]
"""From an experiment's name to the MLflow run that is linked to the present Dagster run, open for logging."""


class Services(Protocol):
    """Everything that stages and sensors work with; built by `wiring.py`."""

    @property
    def clock(self) -> Clock: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def batches(self) -> BatchStore: ...
    @property
    def notifier(self) -> Notifier: ...
    @property
    def checks(self) -> QualityChecks: ...
    @property
    def features(self) -> FeatureStore: ...
    @property
    def tuner(self) -> Tuner: ...
    @property
    def trainer(self) -> Trainer: ...
    @property
    def registry(self) -> ModelRegistry: ...

    def detector(self, spec: ModelSpec) -> DriftDetector: ...

    def declared_checks(self, spec: ModelSpec) -> list[Check]: ...

    def declared_types(self, spec: ModelSpec) -> dict[str, str]:
        """The types of the columns as the checks file declares them."""
        ...
