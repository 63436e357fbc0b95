"""What a model is: frozen dataclasses from a `defs.yaml` to a ModelSpec with a fingerprint. Never reads a file."""

import hashlib
import json
import re
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen

from selfheal_assets.core.errors import SpecError

Share = Annotated[float, Interval(gt=0.0, lt=1.0)]
NonNegative = Annotated[float, Ge(0.0)]
Positive = Annotated[float, Gt(0.0)]
Count = Annotated[int, Ge(1)]
Columns = tuple[str, ...]
MetricName = Literal["roc_auc", "average_precision", "log_loss"]


def _no_repeats(rule: str, values: tuple[Hashable, ...]) -> None:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise SpecError(f"{rule} must not repeat; received {repeated} more than once. Remove the repeats.")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The columns of a landed batch that selfheal itself needs."""

    event_id: str
    """Column that identifies a row, unique over all batches."""
    event_timestamp: str
    """Column with the time of the event; naive values are read as UTC."""
    label: str
    """Binary target column (0 or 1); may be missing in a row whose outcome is not known yet."""
    entities: Annotated[Columns, MinLen(1)]
    """Feast join keys."""


@dataclass(frozen=True, kw_only=True)
class FeaturesSpec:
    """Where the model's features come from."""

    service: str
    """Name of the Feast feature service."""
    request: Columns = ()
    """Columns of the batch that are features as they are, known at request time."""
    categorical: Columns = ()
    """Which features, of the request or the service, are categories."""

    def __post_init__(self) -> None:
        _no_repeats("features.request", self.request)
        _no_repeats("features.categorical", self.categorical)


@dataclass(frozen=True, kw_only=True)
class QualitySpec:
    """How much of a batch may be bad before the whole batch is quarantined, and when too little arrives."""

    max_bad_row_share: Share = 0.05
    min_batch_rows: Annotated[int, Ge(0)] = 0
    """Clean rows that a batch should have; fewer in `volume_batches` in a row raise VOLUME. 0: not watched."""
    volume_batches: Count = 3
    max_age_hours: NonNegative = 0.0
    """No batch has landed for longer than this: FRESHNESS is raised. 0: not watched."""


@dataclass(frozen=True, kw_only=True)
class DriftSpec:
    """When a change of the inputs or of the score is evidence of drift."""

    detector: Literal["alibi", "scipy"] = "alibi"
    p_threshold: Share = 0.05
    """False discovery rate over the features of a batch (Benjamini-Hochberg)."""
    psi_threshold: Positive = 0.2
    """Population stability index below which a significant change is too small to matter."""
    persistence_k: Count = 2
    persistence_n: Count = 3
    """Evidence counts when it is raised in k of the last n batches."""
    min_rows: Count = 200
    """Fewer rows than this in a batch: the answer is UNKNOWN."""
    min_importance_share: Annotated[float, Interval(ge=0.0, lt=1.0)] = 0.02
    """Features with less than this share of the champion's gain do not count."""
    min_prior_move: Share = 0.05
    """A change of the share of label 1 below this is too small to matter, however significant."""
    reference_rows: Annotated[int, Ge(100)] = 5_000
    """At most this many rows are kept as the reference, the most recent first."""

    def __post_init__(self) -> None:
        if self.persistence_k > self.persistence_n:
            raise SpecError(
                "drift.persistence_k must be at most drift.persistence_n; "
                f"received {self.persistence_k} of {self.persistence_n}. Lower k or raise n."
            )


@dataclass(frozen=True, kw_only=True)
class PerformanceSpec:
    """When the realised metric of a batch is harmed."""

    metric: MetricName = "roc_auc"
    max_drop: Positive = 0.05
    """Harm: the interval of the batch's metric lies wholly below the champion's holdout metric less this."""
    confidence: Share = 0.95
    min_rows: Count = 200
    """Fewer labelled rows than this: the answer is UNKNOWN."""
    min_matured: Share = 0.8
    """Share of a batch's rows that must have a label: with fewer the realised metric is UNKNOWN, and nothing is learned
    from the batch yet. Labels that come early are seldom a fair sample of all."""
    detector: Literal["risk", "adwin"] = "risk"
    """What watches the labelled rows since the promotion, in order: `risk`, a test of the Brier loss that stays valid
    however often one looks (Podkopaev and Ramdas 2022), or `adwin` (Bifet and Gavalda 2007)."""
    tolerance: NonNegative = 0.02
    """`risk`: how much the mean Brier loss may exceed the champion's on its holdout."""
    alpha: Share = 0.01
    """`risk`: the chance of a false alarm over a champion's whole life. `adwin`: its delta."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """How a candidate is tuned and trained."""

    trials: Count = 20
    timeout_seconds: Positive = 120.0
    """Bound on the tuning; trials that began before it are finished."""
    windows: Annotated[tuple[Count, ...], MinLen(1)] = (2, 4, 8)
    """Candidate training windows: the number of most recent clean batches. Tuned."""
    min_rows: Count = 1_000
    """A training set with fewer labelled rows is refused."""
    holdout_share: Share = 0.25
    """Share of the smallest window's rows, the most recent, kept from tuning and training for the gate."""
    max_boost_rounds: Count = 300
    early_stopping_rounds: Count = 20
    seed: int = 7

    def __post_init__(self) -> None:
        _no_repeats("training.windows", self.windows)


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """What a candidate must prove before it may serve."""

    metric_floor: float = 0.6
    """The holdout metric, in the metric's own units, that every candidate must reach."""
    margin: NonNegative = 0.01
    """Non-inferiority margin: how much worse than the champion is still 'not worse'."""
    confidence: Share = 0.95
    max_calibration_error: Share = 0.1
    """Expected calibration error over ten equal-mass bins."""
    max_latency_ms: Positive = 50.0
    """99th percentile of scoring one row."""
    slices: Columns = ()
    """Categorical features whose every level is judged by itself."""
    max_slice_drop: Positive = 0.1
    """How much below the champion a slice's metric may lie."""
    min_slice_rows: Count = 100


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What selfheal may do by itself, and how often."""

    autonomy: Literal["observe", "recommend", "heal"] = "heal"
    """observe: decisions are recorded and never carried out. recommend: they wait for a person's approval."""
    cooldown_minutes: NonNegative = 30.0
    """No heal of a new incident before this has passed since the last decision to heal."""
    heals_per_day: Count = 4
    strong_psi: Positive = 0.5
    """Drift this large, when persistent, is acted on even where the performance is unknown."""
    watch_batches: Count = 3
    """So many batches after a promotion the previous champion is scored beside the new one: decay is a bad release."""
    verify_batches: Count = 3
    """A heal must show a clear metric on one of so many measured batches, else the next alternative is tried."""
    retries: Annotated[int, Ge(0)] = 1
    """How often the last alternative is tried again, on new data, before the incident is escalated."""
    archived_versions: Annotated[int, Ge(0)] = 5
    """How many earlier versions `reinstate` looks at, the newest first."""
    approval_hours: Positive = 24.0
    """An approval that nobody gives is void after this."""
    failures_remembered: Count = 6
    """The last so many heals whose failures raise the bar of evidence, one more batch for each in a row."""
    max_change_failure_share: Share = 0.5
    """Past this share of failed heals among those remembered (three at least) the model drops to `recommend`."""


ActionName = Literal[
    "reinstate",
    "recalibrate",
    "retrain",
    "rollback",
    "fallback",
    "restart",
    "refresh_reference",
    "notify",
    "escalate",
    "nothing",
]
Alternatives = Annotated[tuple[ActionName, ...], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class ActionsSpec:
    """What to do about each cause: alternatives, tried in order."""

    harmful_drift: Alternatives = ("reinstate", "retrain")
    concept_drift: Alternatives = ("reinstate", "retrain")
    prior_shift: Alternatives = ("recalibrate", "retrain")
    benign_drift: Alternatives = ("nothing",)
    bad_release: Alternatives = ("rollback", "retrain")
    upstream_stalled: Alternatives = ("notify",)
    training_fault: Alternatives = ("escalate",)
    serving_fault: Alternatives = ("restart", "escalate")
    feature_store_fault: Alternatives = ("fallback", "escalate")

    def __post_init__(self) -> None:
        for cause, actions in vars(self).items():
            _no_repeats(f"actions.{cause}", actions)


@dataclass(frozen=True, kw_only=True)
class CostSpec:
    """When a heal pays: expected loss against the cost of the action, in one currency. All zero: every heal pays."""

    value_per_unit_day: NonNegative = 0.0
    """What a whole unit of the metric is worth on one day; 0: the gate is open."""
    horizon_days: Positive = 7.0
    """For how long the loss is expected to go on."""
    compute_per_hour: NonNegative = 0.0
    """Rate of the machine that retrains; hours are learned from the ledger's own past."""
    per_heal: NonNegative = 0.0
    """What each change of the champion costs besides: reviews, risk, downstream checks."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One declared model: the single source of everything built for it."""

    name: str
    description: str
    owners: Annotated[Columns, MinLen(1)]
    """E-mail addresses, or `team:` names."""
    data: DataSpec
    features: FeaturesSpec
    quality: QualitySpec = field(default_factory=QualitySpec)
    drift: DriftSpec = field(default_factory=DriftSpec)
    performance: PerformanceSpec = field(default_factory=PerformanceSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    gate: GateSpec = field(default_factory=GateSpec)
    policy: PolicySpec = field(default_factory=PolicySpec)
    actions: ActionsSpec = field(default_factory=ActionsSpec)
    cost: CostSpec = field(default_factory=CostSpec)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", self.name):
            raise SpecError(
                "name must be 1 to 40 lower-case letters, digits and underscores, beginning with a letter; "
                f"received {self.name!r}. Rename the model."
            )
        for owner in self.owners:
            if not re.fullmatch(r"team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
                raise SpecError(
                    f"owners must be e-mail addresses or 'team:<name>'; received {owner!r}. Correct the entry."
                )
        special = (self.data.event_id, self.data.event_timestamp, self.data.label)
        _no_repeats("data.event_id, data.event_timestamp and data.label", special)
        leaks = sorted(set(self.features.request) & set(special))
        if leaks:
            raise SpecError(
                f"features.request must not name the event id, the timestamp or the label; received {leaks}. "
                "Remove them: a model that sees them learns the answer, not the pattern."
            )
        unknown = sorted(set(self.gate.slices) - set(self.features.categorical))
        if unknown:
            raise SpecError(
                f"gate.slices must be among features.categorical; received {unknown}. Declare or drop them."
            )

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any field: the code version of the model's assets."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]
