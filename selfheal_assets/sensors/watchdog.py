"""Watchdog: the healer's own sensors, runs and incidents in; a safe repair, or word to people, out. Never heals."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

import dagster as dg

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.watch import Finding, watch
from selfheal_assets.core.watched import DecisionFact, Facts, Worker
from selfheal_assets.ports import Services
from selfheal_assets.sensors import watched_dagster
from selfheal_assets.sensors.runs import ACTIVE, active_run, runs_with_tag
from selfheal_assets.stages.identity import DECISION_TAG
from selfheal_assets.stages.jobs import ingest_name, release_name
from selfheal_assets.stages.situation import gather
from selfheal_assets.stages.watched_ledger import backlog_fact, incident_facts

INTERVAL_S = 30
RUN_IS_DEAD = "The watchdog found the run's process gone, and nothing written since."


@dataclass(frozen=True, kw_only=True)
class _Cursor:
    """What the last look found. Without it, everything is told once more."""

    suspected: list[str] = field(default_factory=list)
    """Seen once. Told when the next look sees it too: after a pause of the daemon everything looks late at first."""
    told: list[str] = field(default_factory=list)


def watchdog_sensor(spec: ModelSpec, watched: Sequence[dg.SensorDefinition]) -> dg.SensorDefinition:
    """The sensor `m_watchdog`, which looks at these sensors and at all that they ask for."""

    @dg.sensor(
        name=f"{spec.name}_watchdog",
        asset_selection=dg.AssetSelection.assets(dg.AssetKey([spec.name, "champion_model"])),
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Watches the healing of {spec.name}: sensors that stopped, runs that hang, incidents that stall, "
            "decisions without a run. Reports a dead run as failed, and tells people of the rest."
        ),
    )
    def watchdog(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        cursor = _read(context.cursor)
        found = watch(spec.policy, _facts(context, selfheal, spec, watched))
        confirmed = [finding for finding in found if finding.key in cursor.suspected]
        words = [_handle(context, selfheal, spec, each, known=each.key in cursor.told) for each in confirmed]
        said = "; ".join(words) or f"nothing to report; {len(found)} suspicions for the next look"
        context.log.info(said)
        seen = _Cursor(suspected=[each.key for each in found], told=[each.key for each in confirmed])
        return dg.SensorResult(skip_reason=said, cursor=json.dumps(asdict(seen)))

    return watchdog


def _read(cursor: str | None) -> _Cursor:
    return _Cursor(**json.loads(cursor)) if cursor else _Cursor()


def _facts(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, watched: Sequence[dg.SensorDefinition]
) -> Facts:
    instance, wall = context.instance, watched_dagster.wall_clock()
    facts = Facts(
        sensors=watched_dagster.sensor_facts(context, watched, wall),
        runs=watched_dagster.run_facts(context, spec, wall),
    )
    # Before the open batches are listed: a run that ends in between has closed its batches.
    ingesting = active_run(instance, [ingest_name(spec), release_name(spec)])
    ledger, now = selfheal.ledger, selfheal.clock.now()
    try:
        return replace(
            facts,
            incidents=incident_facts(ledger, spec, now),
            decisions=_without_a_run(instance, selfheal, spec, now),
            undecided=watched_dagster.undecided_facts(instance, selfheal, spec, wall),
            backlog=None if ingesting else backlog_fact(ledger, spec, now),
        )
    except SelfhealError as error:
        return replace(facts, ledger_error=str(error))


def _without_a_run(
    instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec, now: datetime
) -> list[DecisionFact]:
    waiting = [heal for heal in gather(selfheal.ledger, spec, now).heals if heal.outcome is None]
    return [
        DecisionFact(
            decision_id=heal.decision.subject,
            action=heal.action,
            incident=heal.decision.payload.get("incident"),
            for_=now - heal.begun_at,
        )
        for heal in waiting
        if not runs_with_tag(instance, DECISION_TAG, heal.decision.subject)
    ]


def _handle(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, finding: Finding, *, known: bool
) -> str:
    """Repair what is safe, and tell people once; what was found and done."""
    done = _mended(context, finding) if finding.mends_itself else ""
    body = f"{finding.words} {done}".strip()
    if not known:
        selfheal.notifier.notify(spec.name, finding.key, body, incident=finding.incident, severity=finding.severity)
    return f"{finding.key}. {body}"


def _mended(context: dg.SensorEvaluationContext, finding: Finding) -> str:
    """Report the run as failed, unless it has ended or is seen alive after all; what was done."""
    run = context.instance.get_run_by_id(finding.subject)
    if run is None or run.status not in ACTIVE or watched_dagster.worker_of(context, run.run_id) is not Worker.DEAD:
        return "It has ended by itself."
    context.instance.report_run_failed(run, RUN_IS_DEAD)
    return "It was reported as failed."
