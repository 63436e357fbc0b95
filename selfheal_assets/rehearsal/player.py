"""Play a history through the loop on a simulated clock: batches in, what was done and how it went out. Never prints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

import numpy as np

from selfheal_assets.core.batch_gate import BatchJudgement
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.incident import Incident
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.performance import worst_allowed
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.reconcile import reconcile
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.statistics.metrics import higher_is_better, metric
from selfheal_assets.rehearsal.frames import FrameFeatures
from selfheal_assets.rehearsal.healing import carry_out
from selfheal_assets.rehearsal.history import Arrival, History
from selfheal_assets.rehearsal.measure import labels_arrive, observe, take_in
from selfheal_assets.rehearsal.payments_features import PaymentsFeatures
from selfheal_assets.rehearsal.wiring import RehearsalServices
from selfheal_assets.stages.champion import SCORE, reference_of
from selfheal_assets.stages.heal_decision import by_hand, training_batches
from selfheal_assets.stages.situation import gather

HEAL_TIME = timedelta(minutes=5)
"""How long a heal takes on the simulated clock: fixed, so that the same history gives the same decisions."""
MAX_STEPS = 50
NOTHING_KNOWN: Mapping[int, BatchJudgement] = {}


@dataclass(frozen=True, kw_only=True)
class Heal:
    """One decision that touched production, and its end."""

    at: int
    """Place of the batch after whose arrival it was decided."""
    action: Action
    cause: Cause
    outcome: str
    reason: str
    """Of the outcome."""
    version: str | None
    seconds: float
    """Of work on this machine."""
    batch_ids: tuple[str, ...] = ()
    """Whose evidence it was decided on."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How the champion of the moment did on one batch, by labels that may have come much later."""

    at: int
    version: str
    value: float
    """The metric; NaN where the batch has one label only."""
    own: float | None
    """The champion's own metric, on its holdout."""
    harmed: bool
    """Beyond what the champion's own metric allows."""


@dataclass(kw_only=True)
class Played:
    """A whole history under one trigger."""

    trigger: str
    heals: list[Heal] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    """As of their last transition, in the order of opening."""
    statuses: dict[int, str] = field(default_factory=dict)
    """What became of each batch: CLEAN, PARTIAL or QUARANTINED."""
    judgements: dict[int, BatchJudgement] = field(default_factory=dict)
    """What the checks said of each batch that could be read."""

    @property
    def retrains(self) -> list[Heal]:
        """Models trained after the first one, refused ones included."""
        return [heal for heal in self.heals if heal.action is Action.RETRAIN and heal.cause is not Cause.NO_CHAMPION]


class Trigger(Protocol):
    """When is the model healed."""

    @property
    def name(self) -> str: ...

    @property
    def evidence(self) -> bool:
        """Whether it looks at evidence, so that this must be measured."""
        ...

    def decide(self, services: RehearsalServices, spec: ModelSpec, at: int) -> bool:
        """Record what is decided after batch `at`; whether anything was recorded."""
        ...


class Policy:
    """The declared policy through the real core; whatever it asks a person for is approved at once."""

    name, evidence = "policy", True

    def decide(self, services: RehearsalServices, spec: ModelSpec, at: int) -> bool:  # noqa: ARG002
        now = services.clock.now()
        step = reconcile(spec, gather(services.ledger, spec, now))
        wrote = services.ledger.append(*step.records())
        asked = [d for d in step.decisions if d.status is DecisionStatus.AWAITING]
        wrote += services.ledger.append(*(_approval(spec, d.id, services) for d in asked))
        return bool(wrote)


@dataclass(frozen=True)
class Schedule:
    """Retrain after the batches at these places, once the first model is there; whatever the evidence."""

    name: str
    places: frozenset[int]
    evidence: bool = False

    def decide(self, services: RehearsalServices, spec: ModelSpec, at: int) -> bool:
        situation = gather(services.ledger, spec, services.clock.now())
        if situation.champion_version is None:
            first = [d for d in reconcile(spec, situation).decisions if d.cause is Cause.NO_CHAMPION]
            return bool(services.ledger.append(*(d.to_record(situation.now) for d in first)))
        if at not in self.places:
            return False
        decision = by_hand(
            services,
            spec,
            f"scheduled-{at}",
            cause=Cause.UNKNOWN,
            action=Action.RETRAIN,
            champion_version=situation.champion_version,
            reason=self.name,
            training_batches=training_batches(services, spec),
        )
        return bool(services.ledger.append(decision))


def play(
    spec: ModelSpec,
    history: History,
    trigger: Trigger,
    *,
    labels_after: int = 0,
    tune: bool = False,
    judgements: Mapping[int, BatchJudgement] = NOTHING_KNOWN,
) -> Iterator[Played]:
    """What stands after each batch of the history. Labels come `labels_after` batches after their rows.

    Batches with `judgements` from an earlier play are not checked again: those are the same rows to every trigger.
    """
    keyed = _with_keys(spec)
    services = RehearsalServices(_features(spec, history), tune=tune, checked=history.checked)
    played = Played(trigger=trigger.name)
    try:
        for at, arrival in enumerate(history.arrivals):
            services.clock.set(arrival.arrived_at)
            known = take_in(services, keyed, arrival, labelled=not labels_after, known=judgements.get(at))
            if known is not None:
                played.judgements[at] = known
            observe(services, keyed, arrival.batch_id, evidence=trigger.evidence)
            if labels_after and at >= labels_after:
                labels_arrive(services, keyed, history.arrivals[at - labels_after], evidence=trigger.evidence)
            _score(services, keyed, played, at, arrival)
            _heal(services, keyed, played, at, trigger)
            played.incidents = _incidents(services, keyed)
            yield played
    finally:
        services.close()


def _with_keys(spec: ModelSpec) -> ModelSpec:
    """The policy as it is when it has the keys: a rehearsal of one that only observes would say nothing. The gate on
    latency is open: how fast this machine scores says nothing of the server, and would differ from run to run."""
    policy = replace(spec.policy, autonomy="heal") if spec.policy.autonomy == "observe" else spec.policy
    return replace(spec, policy=policy, gate=replace(spec.gate, max_latency_ms=1e9))


def _features(spec: ModelSpec, history: History) -> FrameFeatures:
    if history.features is not None:
        return FrameFeatures(spec.data.event_id, history.features, lambda rows: rows)
    payments = PaymentsFeatures(spec.features.request)
    if history.before is not None:
        payments(history.before)
    return FrameFeatures(spec.data.event_id, payments.names, payments)


def _heal(services: RehearsalServices, spec: ModelSpec, played: Played, at: int, trigger: Trigger) -> None:
    """Decide and carry out until nothing more is to be done about what is known."""
    for _ in range(MAX_STEPS):
        decided = trigger.decide(services, spec, at)
        pending = [h.decision for h in gather(services.ledger, spec, services.clock.now()).heals if h.outcome is None]
        if not decided and not pending:
            return
        for decision in reversed(pending):
            services.clock.advance(HEAL_TIME)
            seconds = carry_out(services, spec, decision)
            played.heals.append(_ended(services, spec, decision, at, seconds))
    raise SelfhealError(
        f"The loop must come to rest after a batch; it took {MAX_STEPS} steps after batch {at}. Report this."
    )


def _ended(services: RehearsalServices, spec: ModelSpec, decision: Record, at: int, seconds: float) -> Heal:
    outcome = services.ledger.current(spec.name, RecordKind.OUTCOME, [decision.subject])[decision.subject]
    return Heal(
        at=at,
        action=Action(decision.payload["action"]),
        cause=Cause(decision.payload["cause"]),
        outcome=outcome.status,
        reason=outcome.payload["reason"],
        version=outcome.payload.get("version"),
        seconds=seconds,
        batch_ids=tuple(decision.payload["batch_ids"]) if decision.payload.get("batch_ids") else (),
    )


def _score(services: RehearsalServices, spec: ModelSpec, played: Played, at: int, arrival: Arrival) -> None:
    settled = services.ledger.current(spec.name, RecordKind.BATCH_SETTLED, [arrival.batch_id])[arrival.batch_id]
    played.statuses[at] = settled.status
    if arrival.rows is None or not services.batches.has(spec.name, "scores", arrival.batch_id):
        return
    scores = services.batches.read(spec.name, "scores", arrival.batch_id)
    truth = arrival.rows.drop_duplicates(spec.data.event_id).set_index(spec.data.event_id)[spec.data.label]
    label = scores[spec.data.event_id].map(truth).to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(label)
    version = str(scores["champion_version"].iloc[0])
    value = float("nan")
    if len(np.unique(label[known])) == 2:
        value = metric(spec.performance.metric, label[known], scores[SCORE].to_numpy()[known])
    reference = reference_of(services, spec, version)
    own = reference.profile["metric"] if reference else None
    harmed = _harmed(spec, own, value)
    played.scored.append(Scored(at=at, version=version, value=value, own=own, harmed=harmed))


def _harmed(spec: ModelSpec, own: float | None, value: float) -> bool:
    worst = worst_allowed(spec.performance, own)
    if worst is None or not np.isfinite(value):
        return False
    return value < worst if higher_is_better(spec.performance.metric) else value > worst


def _incidents(services: RehearsalServices, spec: ModelSpec) -> list[Incident]:
    last: dict[str, Incident] = {}
    for record in services.ledger.after(spec.name, RecordKind.INCIDENT, 0, 1_000_000):
        last[record.subject] = Incident.from_record(record)
    return list(last.values())


def _approval(spec: ModelSpec, decision_id: str, services: RehearsalServices) -> Record:
    now = services.clock.now()
    return Record(
        key=f"approval:{decision_id}",
        model=spec.name,
        kind=RecordKind.APPROVAL,
        subject=decision_id,
        status="APPROVED",
        event_time=now,
        recorded_at=now,
        payload={"by": "the rehearsal"},
    )
