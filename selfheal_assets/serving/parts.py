"""Name what a model server is put together from: parts in, one value out. Builds none of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.ledger import Clock
from selfheal_assets.ports.serving import AnswerLog, Line, Resolved, Table


class FeatureSource(Protocol):
    """Where the features of an answer come from, in whatever state the feature store is."""

    def resolve(self, entities: Table, request: Table, now: datetime) -> Resolved:
        """Every feature of the rows as of `now`; blocks for the feature deadline at most."""
        ...

    @property
    def breaker_open(self) -> bool:
        """Whether the feature store is not being asked at present."""
        ...

    def close(self) -> None:
        """Ask no more."""
        ...


class VersionTrouble(Protocol):
    """A version that is wanted and cannot serve."""

    @property
    def version(self) -> str: ...
    @property
    def reason(self) -> str: ...


class LineSource(Protocol):
    """Who keeps the versions loaded that the registry and the rollout ask for."""

    @property
    def line(self) -> Line | None:
        """The versions that stand ready; None before the first one does."""
        ...

    @property
    def paused(self) -> bool:
        """Whether the line is kept as it is, whatever the registry says."""
        ...

    @property
    def troubles(self) -> Sequence[VersionTrouble]:
        """Versions that are wanted and cannot serve."""
        ...

    @property
    def registry_trouble(self) -> str | None:
        """Why nobody can say at present who is to serve; None when somebody can."""
        ...

    def start(self) -> None:
        """Begin to follow; returns at once."""
        ...

    def stop(self) -> None:
        """Stop following; what is loaded stays."""
        ...

    def reload(self) -> None:
        """Look at the registry at once, and load what it asks for."""
        ...

    def pause(self) -> None:
        """Keep the line as it is until `resume`."""
        ...

    def resume(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RowTypes:
    """The columns of a request's row beside the id and the time, each with its type: see `schemas.KINDS`."""

    event_id: str = "string"
    """`string` or `integer`; only a string can be left out and made up."""
    entities: dict[str, str]
    request: dict[str, str]
    """Features of the request, and what on-demand features are computed from."""
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that a server works with."""

    spec: ModelSpec
    types: RowTypes
    clock: Clock
    lines: LineSource
    features: FeatureSource
    asks_store: bool
    """Whether features come from a store that can keep one waiting."""
    log: AnswerLog
    token: str | None = None
    """What admin calls must carry; None: there are none."""
    metrics_folder: str | None = None
    """Where the worker processes of one server share their metrics; None: there is one process."""
