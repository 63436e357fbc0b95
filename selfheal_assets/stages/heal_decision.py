"""Find the decision that a run carries out; record one where a person started the run by hand. Never decides."""

from typing import TYPE_CHECKING, Any

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import learnable_batches
from selfheal_assets.stages.identity import DECISION_TAG
from selfheal_assets.stages.training_evidence import training_evidence

if TYPE_CHECKING:
    import dagster as dg


def heal_decision(context: "dg.AssetExecutionContext", services: Services, spec: ModelSpec) -> Record:
    """The DECISION record of this run: named by the run's tag, else one in the name of the person who launched it.

    What was given up has ended. A run of it that a person launches again, in Dagster's UI, carries out a decision of
    that person's own.
    """
    decision_id = context.run.tags.get(DECISION_TAG) or f"by-hand-{context.run.root_run_id or context.run.run_id}"[:24]
    found = services.ledger.newest(spec.name, RecordKind.DECISION, subject=decision_id)
    given_up = services.ledger.newest(spec.name, RecordKind.OUTCOME, subject=decision_id, status=OutcomeStatus.FAILED)
    if found and not given_up:
        return found[0]
    if given_up:
        decision_id = f"again-{context.run.run_id}"[:24]
        if again := services.ledger.newest(spec.name, RecordKind.DECISION, subject=decision_id):
            return again[0]
    # The drift sensor looks for the run of an unfinished decision by this tag, and would ask for a second one.
    context.instance.add_run_tags(context.run.run_id, {DECISION_TAG: decision_id})
    decision = by_hand(
        services,
        spec,
        decision_id,
        cause=Cause.UNKNOWN,
        action=Action(found[0].payload["action"]) if found else Action.RETRAIN,
        champion_version=None,
        reason=f"launched again by a person: {found[0].payload['reason']}" if found else "launched by a person",
        training_batches=training_batches(services, spec),
    )
    services.ledger.append(decision)
    return decision


def by_hand(
    services: Services,
    spec: ModelSpec,
    decision_id: str,
    *,
    cause: Cause,
    action: Action,
    champion_version: str | None,
    reason: str,
    **extra: Any,
) -> Record:
    """What a person decides, in the form of the policy's own decisions, not recorded; `extra` joins the payload."""
    now = services.clock.now()
    return Record(
        key=f"decision:{decision_id}",
        model=spec.name,
        kind=RecordKind.DECISION,
        subject=decision_id,
        status=DecisionStatus.DECIDED,
        event_time=now,
        recorded_at=now,
        payload={
            "cause": cause,
            "action": action,
            "champion_version": champion_version,
            "incident": None,
            "attempt": 1,
            "reason": reason,
            "refused": [],
            "hold": None,
            "batch_ids": [],
            **extra,
        },
    )


def training_batches(services: Services, spec: ModelSpec) -> list[str]:
    """The batches to learn from as of now, oldest first: as many as the largest window. Frozen into the decision."""
    recent = learnable_batches(services.ledger, spec, limit=max(spec.training.windows))
    return [record.subject for record in reversed(recent)]


def close(
    services: Services,
    spec: ModelSpec,
    decision_id: str,
    status: OutcomeStatus,
    *,
    version: str | None,
    reason: str,
    **extra: Any,
) -> None:
    """Record how the decision ended, and whether a candidate could be made; the first word stands.

    `extra` joins the payload.
    """
    now = services.clock.now()
    outcome = Record(
        key=f"outcome:{decision_id}",
        model=spec.name,
        kind=RecordKind.OUTCOME,
        subject=decision_id,
        status=status,
        event_time=now,
        recorded_at=now,
        payload={"version": version, "reason": reason, **extra},
    )
    (decision,) = services.ledger.newest(spec.name, RecordKind.DECISION, subject=decision_id) or (None,)
    tries = spec.policy.first_model_tries
    shown = training_evidence(decision, status, reason, extra, now, tries) if decision else None
    if decision and shown:
        services.ledger.append(shown.to_record(now, decision.sequence), outcome)
    else:
        services.ledger.append(outcome)
