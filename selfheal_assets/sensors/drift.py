"""Drift: evidence against the champion in; a decision, and at most one retraining run, out. Never measures a thing."""

import dagster as dg

from selfheal_assets.core.diagnosis import Cause, Diagnosis, diagnose
from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import Action, Decision, DecisionStatus, decide
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.sensors.runs import MAX_ATTEMPTS, active_with_tag, runs_with_tag
from selfheal_assets.stages.batch_records import labelled_rows, learnable_batches
from selfheal_assets.stages.heal_decision import close, training_batches
from selfheal_assets.stages.identity import ATTEMPT_TAG, DECISION_TAG, MODEL_TAG
from selfheal_assets.stages.jobs import AssetJob

PAST_DECISIONS = 200


def drift_sensor(spec: ModelSpec, retrain: AssetJob) -> dg.SensorDefinition:
    """The sensor `m_drift_sensor`."""

    @dg.sensor(
        name=f"{spec.name}_drift_sensor",
        job=retrain,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Watches Alibi Detect's drift reports and the realised performance, diagnoses the cause, decides by the "
            "declared policy, and requests retraining only for harm."
        ),
    )
    def drift(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        due, ended_until = _unfinished(selfheal, spec, int(context.cursor or 0))
        asked = _begin(context, selfheal, spec) if due is None else _carry_on(context, selfheal, spec, due)
        wanted = {"skip_reason": asked} if isinstance(asked, str) else {"run_requests": [asked]}
        return dg.SensorResult(**wanted, cursor=str(ended_until))

    return drift


def _unfinished(selfheal: Services, spec: ModelSpec, ended_until: int) -> tuple[Record | None, int]:
    """The oldest decision to retrain whose end nobody has recorded, and the place in the ledger before which all ended.

    The sensor's cursor only saves reading on: without it, everything is looked at again.
    """
    while page := selfheal.ledger.after(spec.name, RecordKind.DECISION, ended_until, PAST_DECISIONS):
        for record in page:
            due = record.payload["action"] == Action.RETRAIN and record.status == DecisionStatus.DECIDED
            if due and not selfheal.ledger.newest(spec.name, RecordKind.OUTCOME, subject=record.subject):
                return record, ended_until
            ended_until = record.sequence
    return None, ended_until


def _begin(context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec) -> dg.RunRequest | str:
    """The run of a new decision to retrain; or why there is none."""
    decision, recorded = _decide(selfheal, spec)
    reason = _explain(decision)
    context.log.info(reason)
    if recorded is None or decision.action is not Action.RETRAIN or decision.status is not DecisionStatus.DECIDED:
        return reason
    selfheal.notifier.notify(spec.name, f"retraining for {decision.cause}", decision.reason)
    return _request(spec, recorded, 1)


def _carry_on(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, decision: Record
) -> dg.RunRequest | str:
    """Wait for the decision's run, ask again for one that crashed, or give up after repeated crashes."""
    running = active_with_tag(context.instance, DECISION_TAG, decision.subject)
    if running:
        return f"decision {decision.subject}: run {running[:8]} is at work"
    tries = runs_with_tag(context.instance, DECISION_TAG, decision.subject)
    if tries < MAX_ATTEMPTS:
        context.log.warning(f"decision {decision.subject} has no finished run: requesting try {tries + 1}")
        return _request(spec, decision, tries + 1)
    reason = f"its run crashed {tries} times; see the runs tagged {DECISION_TAG}={decision.subject}"
    close(selfheal, spec, decision.subject, OutcomeStatus.FAILED, version=None, reason=reason)
    selfheal.notifier.notify(spec.name, "retraining failed", reason)
    return f"decision {decision.subject} is given up: {reason}"


def _decide(selfheal: Services, spec: ModelSpec) -> tuple[Decision, Record | None]:
    """Gather, ask the core, write down. The record is None when the same was decided before, or nothing was."""
    now = selfheal.clock.now()
    evidence = _evidence(selfheal, spec)
    version = _champion_version(selfheal, spec)
    diagnosis = _no_champion(selfheal, spec) if version is None else diagnose(spec, evidence.get(version, ()))
    learnable = training_batches(selfheal, spec)
    past = _past_retrains(selfheal, spec)
    decision = decide(spec, diagnosis, champion_version=version, past=past, training_batches=learnable, now=now)
    if decision.action is Action.NOTHING and not decision.batch_ids:
        return decision, None
    times = [e.event_time for e in evidence.get(version or "", ())]
    record = decision.to_record(
        max(times, default=now),
        now,
        training_batches=learnable,
        champion_metric=_champion_metric(selfheal, spec, version),
    )
    return decision, record if selfheal.ledger.append(record) else None


def _past_retrains(selfheal: Services, spec: ModelSpec) -> list[Record]:
    """By their outcomes: decisions to retrain alone have one, and those about batches are many more."""
    ended = selfheal.ledger.newest(spec.name, RecordKind.OUTCOME, limit=PAST_DECISIONS)
    return list(selfheal.ledger.current(spec.name, RecordKind.DECISION, [record.subject for record in ended]).values())


def _evidence(selfheal: Services, spec: ModelSpec) -> dict[str, list[Evidence]]:
    """The recent evidence by champion version; enough for n batches of two signals, and some to spare.

    A batch that was released and measured again counts once, as measured last.
    """
    limit = 4 * spec.drift.persistence_n + 8
    found: dict[str, dict[tuple[str, str], Evidence]] = {}
    for record in selfheal.ledger.newest(spec.name, RecordKind.EVIDENCE, limit=limit):
        evidence = Evidence.from_record(record)
        of_version = found.setdefault(str(evidence.champion_version), {})
        of_version.setdefault((evidence.signal, evidence.batch_id), evidence)
    return {version: list(evidences.values()) for version, evidences in found.items()}


def _champion_version(selfheal: Services, spec: ModelSpec) -> str | None:
    """As promoted, or put back, last. From the ledger: a tick has no second to spare to import the registry."""
    moved = [
        record
        for status in (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK)
        for record in selfheal.ledger.newest(spec.name, RecordKind.OUTCOME, status=status)
    ]
    last = max(moved, key=lambda record: record.sequence, default=None)
    return str(last.payload["version"]) if last else None


def _champion_metric(selfheal: Services, spec: ModelSpec, version: str | None) -> float | None:
    profile = selfheal.batches.read_document(spec.name, f"reference-{version}") if version else None
    return profile["metric"] if profile else None


def _no_champion(selfheal: Services, spec: ModelSpec) -> Diagnosis:
    """Ready for the first model once the smallest window is full and has rows enough."""
    batches = learnable_batches(selfheal, spec, limit=max(spec.training.windows))
    labelled = sum(labelled_rows(selfheal, spec, batches).values())
    needed, rows = min(spec.training.windows), spec.training.min_rows / (1.0 - spec.training.holdout_share)
    have = f"no champion yet; {len(batches)} clean batches with {labelled} labelled rows"
    if len(batches) < needed or labelled < rows:
        return Diagnosis(cause=Cause.UNKNOWN, reason=f"{have}, of {needed} batches and {rows:.0f} rows to begin with")
    return Diagnosis(cause=Cause.NO_CHAMPION, reason=have)


def _explain(decision: Decision) -> str:
    refused = f"; not done: {'; '.join(decision.refused)}" if decision.refused else ""
    return f"{decision.cause} -> {decision.action} ({decision.status.lower()}): {decision.reason}{refused}"


def _request(spec: ModelSpec, decision: Record, attempt: int) -> dg.RunRequest:
    tags = {MODEL_TAG: spec.name, DECISION_TAG: decision.subject, ATTEMPT_TAG: str(attempt)}
    run_key = decision.subject if attempt == 1 else f"{decision.subject}-{attempt}"
    return dg.RunRequest(run_key=run_key, tags=tags)
