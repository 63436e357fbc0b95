"""Count what a model server does, for Prometheus: answers in, metrics out. Never decides anything by them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import FeatureLevel

SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
SCORES = tuple(step / 20 for step in range(1, 21))
OUTCOMES = ("ok", "invalid", "error", "timeout", "rejected")
ARM = ("version", "arm", "rollout")


@dataclass(frozen=True, slots=True)
class ArmMetrics:
    """What is counted of one version's scoring, whether it answered or not."""

    score: Histogram
    errors: Counter
    slow: Counter

    def scored(self, scores: Iterable[float | None], *, slow: bool) -> None:
        """None is a row that could not be scored."""
        rows = 0
        for score in scores:
            rows += 1
            if score is None:
                self.errors.inc()
            else:
                self.score.observe(score)
        if slow:
            self.slow.inc(rows)


class ServerMetrics:
    """The metrics of one server: of this process, or of all its worker processes through `folder`."""

    def __init__(self, model: str, folder: str | None = None) -> None:
        registry = self._registry = CollectorRegistry()
        self._folder = folder
        requests = Counter("selfheal_requests", "Requests.", ["model", "outcome"], registry=registry)
        seconds = Histogram(
            "selfheal_request_seconds", "Time to answer.", ["model"], buckets=SECONDS, registry=registry
        )
        self._requests = {outcome: requests.labels(model, outcome) for outcome in OUTCOMES}
        self._seconds = seconds.labels(model)
        self._rows = Counter("selfheal_rows", "Rows by who answered them.", [*ARM, "level"], registry=registry)
        self._errors = Counter("selfheal_row_errors", "Rows that a version could not score.", ARM, registry=registry)
        self._slow = Counter("selfheal_row_slow", "Rows scored after max_latency_ms.", ARM, registry=registry)
        self._score = Histogram("selfheal_score", "Scores of every row.", ARM, buckets=SCORES, registry=registry)
        levels = Counter("selfheal_feature_rows", "Rows by level of their features.", ["level"], registry=registry)
        self._business = Counter("selfheal_business", "Posted business values.", ["version"], registry=registry)
        self._business_sum = Counter("selfheal_business_sum", "Their sum.", ["version"], registry=registry)
        self._business_squares = Counter("selfheal_business_squares", "... of squares.", ["version"], registry=registry)
        self._logged = Counter("selfheal_log_rows", "Rows given to the prediction log.", registry=registry)
        self._unlogged = Counter("selfheal_log_lost_rows", "Rows that the log did not take.", registry=registry)
        self._trouble = self._gauge("selfheal_log_trouble", "1: answers are not being kept.", "livemax")
        self._breaker = self._gauge("selfheal_breaker_open", "1: the feature store is not asked.", "livemax")
        self._refused = self._gauge("selfheal_refused_versions", "Versions wanted that cannot serve.", "livemax")
        self._registry_trouble = self._gauge("selfheal_registry_trouble", "1: the registry cannot say.", "livemax")
        self._ready = self._gauge("selfheal_ready", "1: ready.", "livemin")
        self._waiting = self._gauge("selfheal_waiting_requests", "Requests at work or waiting.", "livesum")
        self._info = Gauge(
            "selfheal_model_info",
            "1: the version stands ready under the alias.",
            ["model", "version", "alias", "run_id"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        # A look-up by labels takes as long as a tenth of an answer; these are few, and kept for ever anyway.
        self._arms: dict[tuple[str, Arm, str], ArmMetrics] = {}
        self._answered: dict[tuple[str, Arm, str, FeatureLevel], Counter] = {}
        self._by_level = {level: levels.labels(level.value) for level in FeatureLevel}
        self._shown: set[tuple[str, ...]] = set()

    def _gauge(self, name: str, says: str, mode: str) -> Gauge:
        return Gauge(name, says, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def arm(self, version: str, arm: Arm, rollout: str) -> ArmMetrics:
        key = (version, arm, rollout)
        found = self._arms.get(key)
        if found is None:
            labels = (version, arm.value, rollout)
            errors, slow = self._errors.labels(*labels), self._slow.labels(*labels)
            found = self._arms[key] = ArmMetrics(self._score.labels(*labels), errors, slow)
        return found

    def answered(self, version: str, arm: Arm, rollout: str, level: FeatureLevel) -> None:
        """One row."""
        key = (version, arm, rollout, level)
        counted = self._answered.get(key)
        if counted is None:
            counted = self._answered[key] = self._rows.labels(version, arm.value, rollout, level.value)
        counted.inc()

    def resolved(self, levels: Sequence[FeatureLevel]) -> None:
        for level in levels:
            self._by_level[level].inc()

    def request(self, outcome: str, seconds: float) -> None:
        """One request, of whatever outcome; the time counts where something was answered or tried."""
        self._requests[outcome].inc()
        if outcome in ("ok", "error", "timeout"):
            self._seconds.observe(seconds)

    def business(self, version: str, value: float) -> None:
        self._business.labels(version).inc()
        self._business_sum.labels(version).inc(value)
        self._business_squares.labels(version).inc(value * value)

    def logged(self, rows: int) -> None:
        self._logged.inc(rows)

    def lost(self, rows: int) -> None:
        self._unlogged.inc(rows)
        self._trouble.set(1)

    def follows(self, *, refused: int, registry_trouble: bool) -> None:
        """How well the server can do what registry and rollout want."""
        self._refused.set(refused)
        self._registry_trouble.set(registry_trouble)

    def state(
        self, *, ready: bool, trouble: bool, breaker_open: bool, versions: Iterable[tuple[str, ...]], waiting: int = 0
    ) -> None:
        """How the server stands; `versions` are (model, version, alias, run id)."""
        self._ready.set(ready)
        self._waiting.set(waiting)
        self._trouble.set(trouble)
        self._breaker.set(breaker_open)
        shown = set(versions)
        for gone in self._shown - shown:
            # Set, not removed: what another worker process reads from a file cannot be removed.
            self._info.labels(*gone).set(0)
        for labels in shown - self._shown:
            self._info.labels(*labels).set(1)
        self._shown |= shown

    def exposition(self) -> bytes:
        """In Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared, path=self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
