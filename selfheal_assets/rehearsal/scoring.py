"""Score what each trigger did to one history: plays and the truth in, figures out. Never plays anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, nan

from selfheal_assets.core.causes import ABOUT_THE_METRIC, PRODUCES_CANDIDATE, Cause
from selfheal_assets.core.cost import SECONDS_PER_HOUR
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.statistics.metrics import higher_is_better
from selfheal_assets.rehearsal.history import Arrival
from selfheal_assets.rehearsal.player import Played

TOOK_EFFECT = frozenset({OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK})
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One batch, without its rows."""

    batch_id: str
    arrived_at: datetime
    fault: str | None
    cause: Cause | None

    @classmethod
    def of(cls, arrival: Arrival) -> "Truth":
        return cls(batch_id=arrival.batch_id, arrived_at=arrival.arrived_at, fault=arrival.fault, cause=arrival.cause)


@dataclass(frozen=True, kw_only=True)
class Score:
    """One trigger over one history."""

    trigger: str
    mean_metric: float
    """Over the batches that every trigger's champion scored, those of bad data left out; each before it was learned
    from."""
    retrains: int
    """Models trained after the first one, refused ones included."""
    changes: int
    """How often another version came to serve, the first model left out."""
    training_seconds: float
    false_heals: int
    """Candidates made although no batch of late was harmed, by the truth or by its own labels in hindsight."""
    missed_heals: int
    """Harmful episodes during which the champion was harmed and nothing took effect."""
    episodes: int
    """Harmful ones that were long enough to be seen."""
    cost: float
    """By the model's CostSpec, in its currency: of the heals, and of what the metric lost."""
    metric_by_batch: dict[int, float]
    heals_at: tuple[int, ...]


def scores(spec: ModelSpec, truths: Sequence[Truth], plays: Sequence[Played], labels_after: int) -> list[Score]:
    """In the order of the plays, all judged on the same batches."""
    judged = judged_places(truths, plays)
    return [_score(spec, truths, played, judged, labels_after) for played in plays]


def judged_places(truths: Sequence[Truth], plays: Sequence[Played]) -> list[int]:
    """Batches that were scored under every trigger; the labels of bad data prove nothing."""
    common = [{s.at for s in played.scored if isfinite(s.value)} for played in plays]
    return [at for at in sorted(set.intersection(*common)) if truths[at].cause is not Cause.BAD_DATA]


def _score(spec: ModelSpec, truths: Sequence[Truth], played: Played, judged: Sequence[int], labels_after: int) -> Score:
    by_batch = {s.at: s.value for s in played.scored if s.at in set(judged)}
    made = [h for h in played.heals if h.action in PRODUCES_CANDIDATE and h.cause is not Cause.NO_CHAMPION]
    effective = [h for h in played.heals if h.outcome in TOOK_EFFECT and h.cause is not Cause.NO_CHAMPION]
    found = episodes(spec, truths, played, labels_after)
    lookback = spec.drift.persistence_n + labels_after
    return Score(
        trigger=played.trigger,
        mean_metric=sum(by_batch.values()) / len(by_batch) if by_batch else nan,
        retrains=len(played.retrains),
        changes=len(effective),
        training_seconds=sum(h.seconds for h in made),
        false_heals=sum(not _due(truths, played, h.at, lookback) for h in made),
        missed_heals=sum(_missed(spec, played, begin, end + lookback) for begin, end in found),
        episodes=len(found),
        cost=_cost(spec, truths, played, by_batch),
        metric_by_batch=by_batch,
        heals_at=tuple(h.at for h in effective),
    )


def _due(truths: Sequence[Truth], played: Played, at: int, lookback: int) -> bool:
    """Whether a batch of late was harmful by the truth, or harmed its champion and was not bad data."""
    harmed = {s.at for s in played.scored if s.harmed and truths[s.at].cause is not Cause.BAD_DATA}
    recent = range(max(0, at - lookback), at + 1)
    return any(place in harmed or truths[place].cause in ABOUT_THE_METRIC for place in recent)


def episodes(spec: ModelSpec, truths: Sequence[Truth], played: Played, labels_after: int) -> list[tuple[int, int]]:
    """First and last batch of each run of harmful ones, when it is long enough to persist and its labels came.

    Where nobody knows the truth, those that harmed their champion in hindsight stand for it.
    """
    harmed = {s.at for s in played.scored if s.harmed}
    scored = {s.at for s in played.scored}
    runs = list[tuple[int, int]]()
    for at, truth in enumerate(truths):
        if at not in scored or not (at in harmed if truth.cause is None else truth.cause in ABOUT_THE_METRIC):
            continue
        if runs and runs[-1][1] == at - 1:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))
    k, last = spec.drift.persistence_k, len(truths) - 1
    return [(begin, end) for begin, end in runs if end - begin + 1 >= k and begin + k - 1 + labels_after <= last]


def _missed(spec: ModelSpec, played: Played, begin: int, until: int) -> bool:
    harmed = sum(s.harmed and begin <= s.at <= until for s in played.scored)
    healed = any(h.outcome in TOOK_EFFECT and begin <= h.at <= until for h in played.heals)
    return harmed >= spec.drift.persistence_k and not healed


def _cost(spec: ModelSpec, truths: Sequence[Truth], played: Played, by_batch: dict[int, float]) -> float:
    """What the heals cost, and what was lost on each batch that did worse than the first champion's own metric."""
    cost = spec.cost
    heals = [h for h in played.heals if h.cause is not Cause.NO_CHAMPION]
    spent = sum(h.seconds for h in heals) / SECONDS_PER_HOUR * cost.compute_per_hour + len(heals) * cost.per_heal
    usual = next((s.own for s in played.scored if s.own is not None), None)
    if usual is None:
        return spent
    sign = 1.0 if higher_is_better(spec.performance.metric) else -1.0
    lost = 0.0
    for at, value in by_batch.items():
        days = (truths[at].arrived_at - truths[at - 1].arrived_at).total_seconds() / SECONDS_PER_DAY if at else 0.0
        lost += max(sign * (usual - value), 0.0) * cost.value_per_unit_day * days
    return spent + lost
