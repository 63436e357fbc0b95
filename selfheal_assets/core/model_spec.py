"""What a model is: frozen dataclasses from a `defs.yaml` to a ModelSpec with a fingerprint. Never reads a file."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.policy_spec import ActionsSpec as ActionsSpec
from selfheal_assets.core.policy_spec import CostSpec as CostSpec
from selfheal_assets.core.policy_spec import PolicySpec as PolicySpec
from selfheal_assets.core.resources import require_resources
from selfheal_assets.core.serving_spec import RolloutSpec as RolloutSpec
from selfheal_assets.core.serving_spec import ServingSpec as ServingSpec
from selfheal_assets.core.spec_values import Columns, Count, NonNegative, Positive, Share, no_repeats
from selfheal_assets.core.spec_values import MetricName as MetricName


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The columns of a landed batch that selfheal itself needs."""

    event_id: str
    """Column that identifies a row, unique over all batches. Late labels are joined by it."""
    event_timestamp: str
    """Column with the time of the event; naive values are read as UTC."""
    label: str
    """Binary target column (0 or 1); may be missing in a row whose outcome is not known yet."""
    entities: Annotated[Columns, MinLen(1)]
    """Feast join keys, columns of the batch."""


@dataclass(frozen=True, kw_only=True)
class FeaturesSpec:
    """Where the model's features come from."""

    service: str
    """Name of the Feast feature service."""
    request: Columns = ()
    """Columns of the batch that are features as they are, known at request time. Not the id, the time, the label."""
    categorical: Columns = ()
    """Which features, of the request or the service, are categories. All others are read as numbers."""

    def __post_init__(self) -> None:
        no_repeats("features.request", self.request)
        no_repeats("features.categorical", self.categorical)


@dataclass(frozen=True, kw_only=True)
class QualitySpec:
    """How much of a batch may be bad before the whole batch is quarantined, and when too little arrives."""

    max_bad_row_share: Share = 0.05
    """With more bad rows than this the whole batch is quarantined; with fewer, the bad rows alone."""
    min_batch_rows: Annotated[int, Ge(0)] = 0
    """Clean rows that a batch should have; fewer in `volume_batches` in a row raise VOLUME. 0: not watched."""
    volume_batches: Count = 3
    """See `min_batch_rows`. More: a feed that dries up is told later, and one that is small at times is not."""
    max_age_hours: NonNegative = 0.0
    """No batch has landed for longer than this: FRESHNESS is raised. 0: not watched."""


@dataclass(frozen=True, kw_only=True)
class DriftSpec:
    """When a change of the inputs or of the score is evidence of drift."""

    detector: Literal["alibi", "scipy"] = "alibi"
    """Whose two-sample tests: Alibi Detect's (its licence is in the README), or the same tests by SciPy."""
    p_threshold: Share = 0.05
    """False discovery rate over the features of a batch (Benjamini-Hochberg); also of the share of label 1, and of the
    features within each label. Lower: fewer false alarms, and small changes are found later. Unit: probability."""
    psi_threshold: Positive = 0.2
    """Population stability index below which a significant change is too small to matter. Unit: PSI."""
    persistence_k: Count = 2
    """Performance, strong drift and the share of label 1 are acted on when they are raised in k of the last n batches,
    or when k or more batches in a row, each of a harmed metric, prove the harm together. More: fewer false heals, and
    each real one k batches after its beginning at the earliest. Unit: batches."""
    persistence_n: Count = 3
    """The n of `persistence_k`, and how far back the diagnosis looks. Unit: batches."""
    min_rows: Count = 200
    """A feature with fewer values than this, in the batch or in the reference, is UNKNOWN; the share of label 1
    likewise."""
    min_importance_share: Annotated[float, Interval(ge=0.0, lt=1.0)] = 0.02
    """Features with less than this share of the champion's gain are shown and do not count. 0: all count."""
    min_prior_move: Share = 0.05
    """A change of the share of label 1 below this is too small to matter, however significant. Unit: share."""
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
    """By what the champion is judged, batches and candidates alike. Of `log_loss` less is better: limits turn round."""
    max_drop: Positive = 0.05
    """Harm: the interval of the batch's metric lies wholly below the champion's holdout metric less this.
    Unit: of the metric."""
    confidence: Share = 0.95
    """Of that interval, of the estimate's, and of the comparison with the previous champion. Higher: fewer false
    alarms, and small batches show harm later. Unit: probability."""
    min_rows: Count = 200
    """Fewer labelled rows than this: the answer is UNKNOWN, of a batch and of a gate; likewise the rows of an
    estimate."""
    min_matured: Share = 0.8
    """Share of a batch's rows that must have a label: with fewer the realised metric is UNKNOWN, and nothing is learned
    from the batch yet. Labels that come early are seldom a fair sample of all. Unit: share."""
    labels_wait_days: Positive = 90.0
    """For how long a label whose row has not come is looked for. After that it is kept, and looked for no longer."""
    detector: Literal["risk", "adwin"] = "risk"
    """What watches the labelled rows since the promotion, in order: `risk`, a test of the Brier loss that stays valid
    however often one looks (Podkopaev and Ramdas 2022), or `adwin` (Bifet and Gavalda 2007)."""
    tolerance: NonNegative = 0.02
    """`risk`: how much the mean Brier loss may exceed the champion's on its holdout. `adwin` has none.
    Unit: of the Brier loss."""
    alpha: Share = 0.01
    """`risk`: the chance of a false alarm over a champion's stream, however often it is looked at. `adwin`:
    its delta. Unit: probability."""


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """How a candidate is tuned and trained."""

    engine: Literal["local", "dask"] = "local"
    """Who evaluates the trials and fits what is large: the run's own process, or the Dask cluster whose scheduler
    SELFHEAL_DASK_SCHEDULER names (docs/scale.md)."""
    parallel_trials: Count = 4
    """`dask`: trials that are drawn before the first of them must be known, and so evaluated at a time. More: more
    workers are of use, and a trial is drawn knowing less. The same number gives the same study on any cluster.
    Unit: trials."""
    distributed_rows: Count = 2_000_000
    """`dask`: a candidate is fitted by all workers together when its window has more rows than this, and by the run's
    own process otherwise."""
    trials: Count = 20
    """At most so many parameter sets are tried by Optuna. Unit: trials."""
    timeout_seconds: Positive = 120.0
    """Bound on the tuning; a trial that began before it is finished."""
    windows: Annotated[tuple[Count, ...], MinLen(1)] = (2, 4, 8)
    """Candidate training windows: the number of most recent clean batches. Tuned. The smallest must be full before the
    first model is learned. Unit: batches."""
    min_rows: Count = 1_000
    """Fewest labelled rows to learn from, the holdout not counted. A training set with fewer is refused, a window with
    fewer is not tuned, and the first model waits for them."""
    holdout_share: Share = 0.25
    """Share of the smallest window's rows, the most recent, kept from tuning and training for the gate."""
    max_boost_rounds: Count = 300
    """Trees of one model at most."""
    early_stopping_rounds: Count = 20
    """Boosting ends after so many trees without a gain."""
    seed: int = 7
    """The same rows, parameters and seed give the same model."""
    resources: Mapping[str, float | str] = field(default_factory=dict)
    """What the pod of a training is given on Kubernetes: `cpu`, `memory`, and `max_memory`, up to which `memory` is
    doubled after every run that ran out of it (by default four times `memory`). Empty: what the launcher gives every
    run. Unit: Kubernetes quantity."""

    def __post_init__(self) -> None:
        no_repeats("training.windows", self.windows)
        require_resources(self.resources)


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """What a candidate must prove before it may serve."""

    metric_floor: float = 0.6
    """The holdout metric that every candidate must reach; of `log_loss`, must not pass. Unit: of the metric."""
    margin: NonNegative = 0.01
    """Non-inferiority margin: how much worse than the champion is still 'not worse'. Smaller: more candidates are
    inconclusive, which does not pass. Unit: of the metric."""
    confidence: Share = 0.95
    """Of the interval of the difference to the champion on the same rows, which must lie wholly above the margin.
    Unit: probability."""
    max_calibration_error: Share = 0.1
    """Expected calibration error over ten equal-mass bins. With more a candidate is refused, and the performance is not
    estimated from scores. Unit: probability."""
    max_latency_ms: Positive = 50.0
    """99th percentile of scoring one row, on the machine that judges."""
    slices: Columns = ()
    """Categorical features whose every level is judged by itself, and named in an incident when it fell."""
    max_slice_drop: Positive = 0.1
    """How much below the champion a slice's metric may lie. Unit: of the metric."""
    min_slice_rows: Count = 100
    """A level with fewer rows is named and not judged; when no level can be, the candidate does not pass."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One declared model: the single source of everything built for it."""

    name: str
    """Of the model, its assets and its landing folder: 1 to 40 lower-case letters, digits and underscores."""
    description: str
    """What the score means; shown in the UI."""
    owners: Annotated[Columns, MinLen(1)]
    """E-mail addresses, or `team:` names; shown on the assets."""
    data: DataSpec
    """Columns."""
    features: FeaturesSpec
    """Inputs."""
    quality: QualitySpec = field(default_factory=QualitySpec)
    """Checks."""
    drift: DriftSpec = field(default_factory=DriftSpec)
    """Drift."""
    performance: PerformanceSpec = field(default_factory=PerformanceSpec)
    """Harm."""
    training: TrainingSpec = field(default_factory=TrainingSpec)
    """Training."""
    gate: GateSpec = field(default_factory=GateSpec)
    """Judgement."""
    policy: PolicySpec = field(default_factory=PolicySpec)
    """Autonomy and limits."""
    actions: ActionsSpec = field(default_factory=ActionsSpec)
    """Alternatives by cause."""
    cost: CostSpec = field(default_factory=CostSpec)
    """Whether a heal pays."""
    serving: ServingSpec = field(default_factory=ServingSpec)
    """The model server."""
    rollout: RolloutSpec = field(default_factory=RolloutSpec)
    """Release."""

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
        no_repeats("data.event_id, data.event_timestamp and data.label", special)
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
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]
