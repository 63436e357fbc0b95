"""Report the incidents that changed: the ledger after a cursor in, materializations out. Never heals one."""

from dataclasses import dataclass

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.sensors.runs import run_ids
from selfheal_assets.stages.case_file import CaseFile, case_file
from selfheal_assets.stages.case_markdown import Runs
from selfheal_assets.stages.identity import DECISION_TAG
from selfheal_assets.stages.incident_report import materialization

INCIDENTS_PER_TICK = 2
RECORDS_PER_TICK = 100


@dataclass(frozen=True, kw_only=True)
class Reported:
    events: list[dg.AssetMaterialization]
    cursor: str
    """The ledger's place up to which every transition is reported; what a tick has no time for, the next one does."""


def report_incidents(context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec) -> Reported:
    """The case files of the incidents that went on since the cursor, whoever made them: this sensor or a person."""
    seen = int(context.cursor or 0)
    changed = selfheal.ledger.after(spec.name, RecordKind.INCIDENT, seen, RECORDS_PER_TICK)
    taken = _first_incidents(changed)
    events = []
    for incident in dict.fromkeys(record.subject for record in taken):
        try:
            case = case_file(selfheal.ledger, spec, incident)
            if case is not None:
                events.append(materialization(spec, case, runs_of(context.instance, case)))
        except Exception as error:  # Whatever keeps a report from being made must not keep the healer from healing.
            context.log.error(f"incident {incident} could not be reported: {type(error).__name__}: {error}")
    return Reported(events=events, cursor=str(taken[-1].sequence if taken else seen))


def _first_incidents(changed: list[Record]) -> list[Record]:
    """The transitions up to where one more incident would begin than a tick has the time for."""
    taken, incidents = list[Record](), set[str]()
    for record in changed:
        incidents.add(record.subject)
        if len(incidents) > INCIDENTS_PER_TICK:
            break
        taken.append(record)
    return taken


def runs_of(instance: dg.DagsterInstance, case: CaseFile) -> Runs:
    """The Dagster runs of everything that was tried about the incident, oldest first."""
    return {a.decision_id: run_ids(instance, DECISION_TAG, a.decision_id) for a in case.incident.tried}
