"""A model server's parts in memory, small and honest: what a store, a registry and a log would do."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from time import monotonic, sleep
from typing import Any

import numpy as np
from brain import spec as model_spec
from fastapi import FastAPI

from selfheal_assets.core.errors import LogFullError
from selfheal_assets.core.golden_probe import GoldenProbe
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec
from selfheal_assets.core.serving_spec import ServingSpec
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports.serving import FeatureLevel, Line, Logged, Resolved, Table
from selfheal_assets.serving.app import create_app
from selfheal_assets.serving.parts import Parts, RowTypes
from selfheal_assets.serving.schemas import row_types

with warnings.catch_warnings():
    # Starlette asks for another HTTP client in its own test client; httpx is what everybody has.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ROW = {"account_id": "a1", "amount": 10.0, "channel": "web"}


def served_spec(**limits: Any) -> ModelSpec:
    serving = ServingSpec(**{"context": ("merchant_id", "when"), **limits})
    data = DataSpec(event_id="event_id", event_timestamp="event_timestamp", label="bad", entities=("account_id",))
    features = FeaturesSpec(service="s", request=("amount", "channel"), categorical=("channel",))
    return replace(model_spec(), name="credit", data=data, features=features, serving=serving)


def served_types(spec: ModelSpec) -> RowTypes:
    return row_types(spec, {"account_id": "String"}, {"amount": "Float64"}, {"when": "timestamp"})


@dataclass
class FixedClock:
    time: datetime = NOW

    def now(self) -> datetime:
        return self.time


@dataclass
class Features:
    """Knows the usual amount of every account that it was told of."""

    usual: dict[str, float] = field(default_factory=lambda: {"a1": 20.0})
    breaker_open: bool = False
    seconds: float = 0.0
    asked: list[datetime] = field(default_factory=list)
    closed: bool = False
    hold: Event | None = None

    def resolve(self, entities: Table, request: Table, now: datetime) -> Resolved:
        self.asked.append(now)
        if self.hold is not None:
            assert self.hold.wait(20)
        sleep(self.seconds)
        accounts = entities["account_id"]
        usual = [self.usual.get(account) for account in accounts]
        level = FeatureLevel.DEFAULT if self.breaker_open else FeatureLevel.LIVE
        columns = {"amount": request["amount"], "channel": request["channel"], "usual": usual}
        return Resolved(columns=columns, levels=[level] * len(accounts))

    def close(self) -> None:
        self.closed = True


@dataclass
class Version:
    """The share that an amount has of `most`; fails when told to."""

    version: str
    most: float = 1000.0
    run_id: str = "r1"
    loaded_at: datetime = NOW
    error: Exception | None = None
    says: float | None = None
    probe: GoldenProbe = field(
        default_factory=lambda: GoldenProbe(
            columns={"amount": [10.0, 500.0], "channel": ["web", "web"]}, scores=[0.01, 0.5], files={"model.ubj": "0"}
        )
    )

    def score(self, columns: Table) -> np.ndarray:
        if self.error is not None:
            raise self.error
        amounts = np.array([np.nan if amount is None else amount for amount in columns["amount"]], dtype=float)
        if self.says is not None:
            return np.full(len(amounts), self.says)
        return np.nan_to_num(np.clip(amounts / self.most, 0.0, 1.0), nan=0.5)


@dataclass(frozen=True)
class Trouble:
    version: str
    reason: str


@dataclass
class Lines:
    """Holds the line that it is given."""

    line: Line | None = None
    paused: bool = False
    troubles: tuple[Trouble, ...] = ()
    registry_trouble: str | None = None
    calls: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def reload(self) -> None:
        self.calls.append("reload")

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


@dataclass
class Log:
    """Keeps rows in memory until it is told that it is full."""

    rows: list[Logged] = field(default_factory=list)
    trouble: str | None = None
    closed: bool = False

    def append(self, rows: Sequence[Logged]) -> None:
        if self.trouble is not None or self.closed:
            raise LogFullError(f"The log must take rows; {self.trouble}. Make room.")
        self.rows.extend(rows)

    def close(self) -> None:
        self.closed = True


def line(*versions: Version, **traffic: Any) -> Line:
    champion = versions[0].version
    return Line(traffic=Traffic(champion=champion, **traffic), models={v.version: v for v in versions})


@dataclass
class World:
    """A server's application, and everything behind it."""

    spec: ModelSpec = field(default_factory=served_spec)
    token: str | None = None
    asks_store: bool = True
    lines: Lines = field(default_factory=lambda: Lines(line(Version("1"))))
    features: Features = field(default_factory=Features)
    log: Log = field(default_factory=Log)
    clock: FixedClock = field(default_factory=FixedClock)

    def parts(self) -> Parts:
        return Parts(
            spec=self.spec,
            types=served_types(self.spec),
            clock=self.clock,
            lines=self.lines,
            features=self.features,
            asks_store=self.asks_store,
            log=self.log,
            token=self.token,
        )

    def app(self) -> FastAPI:
        return create_app(self.parts())

    def client(self) -> TestClient:
        return TestClient(self.app(), raise_server_exceptions=False)


def sample(client: TestClient, name: str, **labels: str) -> float:
    """A metric's value as Prometheus reads it; 0 when it was never set."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(
        one.value for family in families for one in family.samples if one.name == name and _has(one.labels, labels)
    )


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def wait_for(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return when it has; fail when it does not."""
    ends = monotonic() + seconds
    while not happened():
        assert monotonic() < ends, "it did not happen"
        sleep(0.02)
