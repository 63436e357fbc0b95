"""What serving and rollouts of a model are: frozen dataclasses of limits and steps. Never answers a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval, MinLen

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.spec_values import Columns, Count, NonNegative, Positive, Share, no_repeats

Port = Annotated[int, Interval(ge=0, le=65_535)]
Weight = Annotated[float, Interval(gt=0.0, le=1.0)]


@dataclass(frozen=True, kw_only=True)
class ServingSpec:
    """How the model server answers, and when it is at fault."""

    port: Port = 8200
    """Of `selfheal serve`, on 127.0.0.1 unless told otherwise; 0: any that is free. Unit: port."""
    context: Columns = ()
    """Columns of an event that are neither features nor entities, and that its landed row must have."""
    feature_deadline_ms: Positive = 50.0
    """The feature store must answer within this, retries included; then the next level answers: features of the
    entity's last answer, then the declared defaults."""
    cached_max_age_minutes: NonNegative = 60.0
    """How old the last answer of an entity may be to stand in for the store. 0: it never does."""
    defaults: Mapping[str, float | str] = field(default_factory=dict)
    """Values of features of the store where neither the store nor the cache has any. One without is missing.
    Unit: of the feature."""
    breaker_failures: Count = 10
    """After so many failures of the feature store in a row it is not asked any more. Unit: failures."""
    breaker_seconds: Positive = 60.0
    """After this a single request tries the store again; until then the fallback answers without waiting."""
    max_rows: Count = 1_000
    """Rows of one request; with more it is refused."""
    max_body_kb: Count = 1_024
    """Size of one request; a larger one is refused unread. Unit: KiB."""
    max_text: Count = 256
    """Length of any text in a request. Unit: characters."""
    max_waiting: Count = 256
    """Requests at work or waiting; one more is answered with 429 and `Retry-After`. Unit: requests."""
    commit_ms: Positive = 100.0
    """The prediction log is written to disk this often: what a killed server loses at most."""
    log_rows: Count = 2_000
    """The prediction log lands as a batch when it has so many rows."""
    log_minutes: Positive = 10.0
    """... or when its first row is so old."""
    max_latency_ms: Positive = 100.0
    """LATENCY is raised when the 99th percentile of the last `window_seconds` is longer."""
    max_error_share: Share = 0.02
    """ERRORS is raised when a larger share of the requests of `window_seconds` failed; TIMEOUTS likewise.
    Unit: share of the requests."""
    window_seconds: Positive = 60.0
    """The time over which errors, timeouts and latency are counted."""
    score_minutes: Positive = 5.0
    """SERVED_SCORES is about the scores of so many minutes, and those of as many before. Longer: later, and surer."""
    max_score_psi: Positive = 0.5
    """SERVED_SCORES is raised when the PSI of both against the champion's holdout is larger. Twice what credit scoring
    calls a large move (0.25: Siddiqi 2006, Credit Risk Scorecards), as an hour has other requests than a day.
    Unit: PSI."""
    min_scores: Count = 1_000
    """With fewer scores in `score_minutes` nothing is said of them; once something was, half as many are enough.
    Unit: scores."""
    restarts_per_hour: Count = 3
    """At most so many restarts of a server in an hour; then the incident is escalated. Unit: restarts."""
    max_business_drop: Share = 0.05
    """A release whose business metric falls by this share within `business_minutes` is taken back. Unit: share."""
    business_minutes: Positive = 15.0
    """See `max_business_drop`; it fell against as many minutes before the promotion."""

    def __post_init__(self) -> None:
        no_repeats("serving.context", self.context)


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """How a challenger reaches everybody, and what it must show at each step."""

    over: Literal["none", "requests", "batches"] = "requests"
    """`requests`: the model server splits its traffic; where no server of the model runs or is kept running, there is
    none to be split, and a challenger that passed its gates is the champion at once. `batches`: no server of selfheal
    answers; both models score the landed batches, and the steps are taken on their rows. `none`: at once, always."""
    shadow_requests: Annotated[int, Interval(ge=0)] = 1_000
    """Both models score so many requests first, and only the champion answers. 0: no shadow. Unit: requests."""
    steps: Annotated[tuple[Weight, ...], MinLen(1)] = (0.05, 0.25, 0.5, 1.0)
    """The challenger's shares of the traffic, one after another; the last must be 1. Unit: share of the requests."""
    step_requests: Count = 200
    """So many requests the challenger must have answered at a step before the next. Unit: requests."""
    step_minutes: NonNegative = 1.0
    """... and so long a step lasts at least."""
    bake_minutes: NonNegative = 15.0
    """How long the new champion is watched, at the whole traffic, with the way back open in seconds."""
    max_hours: Positive = 24.0
    """A rollout that is not decided by then ends by `on_timeout`."""
    on_timeout: Literal["abort", "promote"] = "abort"
    """`promote` only promotes a challenger against which nothing was shown."""
    alpha: Share = 0.01
    """The chance that an equal challenger is rejected by one of the tests, however often one looks; and that one that
    is worse by the margin passes. Unit: probability."""
    error_margin: Share = 0.01
    """Share of failed requests by which the challenger may be worse. Unit: share."""
    slow_margin: Share = 0.02
    """Share of requests slower than `serving.max_latency_ms` by which the challenger may be worse. Unit: share."""
    score_distance: Share = 0.3
    """By how much the Kolmogorov distance between the scores of both on the same requests may be greater than it was
    on the holdout. With more it is another model than the one that was judged. Unit: distance."""
    business_margin: Share = 0.02
    """By how much the mean of the declared business metric, 0 to 1, may be lower. Unit: of the metric."""
    quality_margin: Share = 0.01
    """By how much the mean Brier loss on the same labelled rows may be higher. Unit: of the Brier loss."""
    require_quality: bool = False
    """Whether the whole traffic is reached only when quality on labelled rows was shown to be no worse. Labels that
    come late then hold a rollout until `max_hours`."""
    rollback_window_days: NonNegative = 7.0
    """A return to a version that served within this skips the steps. 0: never."""

    def __post_init__(self) -> None:
        if list(self.steps) != sorted(set(self.steps)) or self.steps[-1] != 1.0:
            raise SpecError(f"rollout.steps must rise to 1; received {list(self.steps)}. Order them and end with 1.0.")
