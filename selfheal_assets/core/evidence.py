"""What was seen, how strong and when: measured statements about a model. Never decides what to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from selfheal_assets.core.record import Record, RecordKind


class Status(StrEnum):
    """What a measurement says."""

    CLEAR = "CLEAR"
    """Measured, and nothing is wrong that could be shown."""
    RAISED = "RAISED"
    """Something is wrong, by the statistics declared for the signal."""
    UNKNOWN = "UNKNOWN"
    """No data, NaN or an error. Never treated as CLEAR."""


class Signal(StrEnum):
    """What is watched. RAISED always means: something is wrong. `docs/policy.md` is made of these words."""

    QUALITY = "quality"
    """The batch against its declared checks.

    Raised: a row broke a check of severity `error`, a check over the whole table failed, a check could not be run, the
    batch is empty or unreadable, or the labels that came for it later broke a check of all of them taken together.
    Unknown: never; a check without an answer counts as broken.
    Blind: to all that no check was declared for. A check of severity `warn` raises nothing.
    """
    DRIFT = "drift"
    """The features' distributions against the champion's reference.

    Raised: a feature that counts moved, by corrected p-value and by PSI; or its share of missing values did; or its
    categories are new.
    Unknown: the champion has no reference; no feature counts; or one of weight, or more than half of those that count,
    have too few values to be judged.
    Blind: to a change between features that leaves each by itself as it was, and to what the features mean. Features
    below `drift.min_importance_share` do not raise it.
    """
    SCORE_DRIFT = "score_drift"
    """The champion's scores against its scores on its own holdout.

    Raised: by the rules of `drift`, the score being the one feature.
    Unknown: too few scores, in the batch or on the holdout.
    Blind: to changes that cancel out in the score.
    """
    PERFORMANCE = "performance"
    """Realised, on labels: the metric of one batch against the champion's on its holdout.

    Raised: the whole interval of the batch's metric lies beyond the champion's own, less `performance.max_drop`.
    Unknown: too small a share of the rows has a label, too few rows or too few of one class have, a score is missing,
    or the champion's own metric is not known.
    Blind: until the labels are there. CLEAR says that harm was not shown, which with few rows is weaker than harmless.
    Labels that come for one kind of row sooner than for another mislead it.
    """
    RISK = "risk"
    """The labelled rows since the promotion, one after another, by the detector that is declared.

    Raised: `risk`: it is proven that the mean Brier loss of some stretch passed that of the holdout by more than the
    tolerance. `adwin`: the mean Brier loss rose against the stream's own past.
    Unknown: there are too few labelled rows for any loss to raise it.
    Blind: `risk` is conservative, the price of looking at every batch: a rise little above the tolerance is found late
    or never. It needs the rows in the order in which their labels came, and rows that do not hang together. `adwin` has
    no tolerance, so that a rise of no consequence raises it on a long stream; it does not see a champion that was bad
    from the first row. Neither says how much the declared metric lost.
    """
    ESTIMATED_PERFORMANCE = "estimated_performance"
    """From calibrated scores, where labels have not come (CBPE).

    Raised: the whole interval of the estimate lies beyond the champion's own metric, less `performance.max_drop`.
    Unknown: too few rows; the calibration on the holdout is poor; or too many scores lie outside those of the holdout.
    Blind: to pure concept drift, and to a moved share of label 1: it takes for granted that a score means what it meant
    on the holdout. Its interval is the sampling error of the batch alone.
    """
    PRIOR = "prior"
    """The share of label 1 against the reference's.

    Raised: it moved by `drift.min_prior_move` or more, and the interval of the move leaves out 0.
    Unknown: the labels have not matured, too few rows have one, or chance explains a move as large.
    Blind: until the labels are there; where labels of one kind come sooner, the share moves by itself.
    """
    CONDITIONAL = "conditional"
    """The features' distributions within each label. Measured where `prior` is raised; nothing else asks for it.

    Raised: a feature that counts moved within a label, by corrected p-value and by PSI.
    Unknown: a label has too few rows on a side, or a feature could not be compared within both.
    Blind: to a change between features that leaves each by itself as it was.
    """
    RELEASE = "release"
    """The previous champion against the present one, on the same rows, in the first batches after a promotion.

    Raised: the whole interval of the difference says that the previous one does better, by however little.
    Unknown: too few rows have a label, or the metric is not defined on them.
    Blind: after `policy.watch_batches` batches, and to a previous champion that is as bad. It does not wait for
    `performance.min_matured`.
    """
    VOLUME = "volume"
    """The clean rows of the last batches. Watched where `quality.min_batch_rows` is declared.

    Raised: each of the last `quality.volume_batches` batches has fewer.
    Unknown: there are not so many batches yet.
    Blind: to a single small batch. Rows in quarantine do not count: a broken feed raises it too.
    """
    FRESHNESS = "freshness"
    """The age of the newest batch. Watched where `quality.max_age_hours` is declared.

    Raised: it landed longer ago.
    Unknown: never; before the first batch nothing is said.
    Blind: to old rows in a new file: it goes by when the file landed, not by its events.
    """
    TRAINING = "training"
    """Whether a candidate can be made.

    Raised: the runs of a decision failed as often as they may be tried; or none of `policy.first_model_tries` made a
    first model.
    Unknown: never.
    Blind: to training that ends and learns nothing; that is for the gates.
    """
    PROMOTION = "promotion"
    """A new champion. No rule of the diagnosis asks for it: what serves is read from the outcomes.

    Raised: never.
    Unknown: never.
    Blind: to what moved an alias outside selfheal.
    """
    BUSINESS = "business"
    """The business metric that is posted to the model server, in the first minutes after a promotion.

    Raised: its mean since the promotion fell by `serving.max_business_drop` of that of the version before, in the
    `serving.business_minutes` before the promotion, beyond chance.
    Unknown: too few values were posted of either, as far as somebody was looking.
    Blind: after `serving.business_minutes`, and to values that come later than that; to what fell only because the
    hour is another one.
    """
    RELEASE_FAULT = "release_fault"
    """Whether requests began to fail, or to be late, with a promotion.

    Raised: `errors`, `timeouts` or `latency` was raised by requests within `rollout.bake_minutes` of it, and was not
    before.
    Unknown: one of them is.
    Blind: to what comes later, and to chance: a fault that happens to begin then is taken for the release's.
    """
    LATENCY = "latency"
    """How long the model server takes.

    Raised: the 99th percentile of the requests of `serving.window_seconds` is longer than `serving.max_latency_ms`;
    without requests, half of the probes take longer.
    Unknown: neither requests nor probes were answered.
    Blind: to what the client waits for besides.
    """
    ERRORS = "errors"
    """Requests that the model server fails to answer.

    Raised: of those of `serving.window_seconds` a larger share than `serving.max_error_share` failed; or a server
    process died, hangs, is not ready, or fails its probes.
    Unknown: neither requests nor probes were answered, or a server is still starting.
    Blind: to wrong answers other than those to the probes, and to requests that never reach the server.
    """
    TIMEOUTS = "timeouts"
    """Requests that the model server answers too late.

    Raised: of those of `serving.window_seconds` a larger share than `serving.max_error_share` got no answer in time.
    Unknown: neither requests nor probes were answered.
    Blind: to clients that gave up sooner.
    """
    FEATURE_STORE = "feature_store"
    """Whether features come from the feature store when the model server asks.

    Raised: of the rows of `serving.window_seconds` a larger share than `serving.max_error_share` had no live features;
    or the store is not asked as it failed too often in a row; or the last probes had none.
    Unknown: neither requests nor probes came.
    Blind: to features that come and are wrong or old.
    """
    SERVED_SCORES = "served_scores"
    """The scores that the champion gave in the last minutes, on all servers, against those on its own holdout.

    Raised: the PSI over 20 equal buckets is larger than `serving.max_score_psi`, in the last `serving.score_minutes`
    and in as many before.
    Unknown: too few scores, in either time or on the holdout; it is larger in one of them only; nobody looked for so
    long, or under this champion; or more than `serving.max_error_share` of the rows had no live features.
    Blind: to moves within a bucket, and to those that cancel out in the score; to why they moved, and whether it harms.
    """


UNBOUND = frozenset(
    {
        Signal.QUALITY,
        Signal.VOLUME,
        Signal.FRESHNESS,
        Signal.TRAINING,
        Signal.FEATURE_STORE,
    }
)
"""Signals that are not about one champion: they stand when another one serves."""
OF_SERVERS = frozenset(
    {
        Signal.LATENCY,
        Signal.ERRORS,
        Signal.TIMEOUTS,
        Signal.FEATURE_STORE,
        Signal.RELEASE_FAULT,
        Signal.BUSINESS,
        Signal.SERVED_SCORES,
    }
)
"""Signals about model servers: their statements are about a time, not about a batch."""
LOOK = "servers-"


def look_id(at: datetime) -> str:
    """What stands for the batch in a statement about servers."""
    return f"{LOOK}{at:%Y%m%dT%H%M%SZ}"


def is_look(batch_id: str) -> bool:
    """Whether it stands for a look at servers."""
    return batch_id.startswith(LOOK)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One measured statement about a model, most often about one of its batches."""

    model: str
    signal: Signal
    status: Status
    batch_id: str
    """The batch, or the newest of the batches, that it is about."""
    champion_version: str | None
    """The version it was measured against; None where none is concerned."""
    event_time: datetime
    value: float | None
    threshold: float | None
    sample_size: int
    reason: str
    strength: float | None = None
    """Without a unit: 1 is exactly at the threshold, 2 twice as far. None where it is not known."""
    batch_ids: tuple[str, ...] = ()
    """All the batches behind it, oldest first; none: `batch_id` alone."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What a person or the diagnosis may want besides: JSON's own types."""

    def to_record(self, recorded_at: datetime, after: int) -> Record:
        """The ledger's form; `after` is the ledger's place of what gave rise to this measurement."""
        payload = {**asdict(self), "batch_ids": list(self.batch_ids), "details": dict(self.details)}
        for promoted in ("model", "status", "batch_id", "event_time"):
            del payload[promoted]
        return Record(
            key=f"evidence:{self.model}:{self.signal}:{self.batch_id}:{self.champion_version}:{after}",
            model=self.model,
            kind=RecordKind.EVIDENCE,
            subject=self.batch_id,
            status=self.status,
            event_time=self.event_time,
            recorded_at=recorded_at,
            payload=payload,
        )

    @classmethod
    def from_record(cls, record: Record) -> "Evidence":
        """Read back what `to_record` wrote."""
        payload = dict(record.payload)
        return cls(
            model=record.model,
            signal=Signal(payload.pop("signal")),
            status=Status(record.status),
            batch_id=record.subject,
            event_time=record.event_time,
            batch_ids=tuple(payload.pop("batch_ids", ())),
            **payload,
        )
