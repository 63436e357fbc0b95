"""Failures: runs that failed in; a record each, with what follows, out. Never asks for a run again itself.

A plain sensor that reads the failed runs by their tag, and not Dagster's run-failure sensor: that one goes by events
after a cursor, so that what failed before it was first switched on, or while its cursor was lost, is never seen.
"""

import dagster as dg

from selfheal_assets.core.failures import NextStep
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.sensors.runs import CRASHED
from selfheal_assets.sensors.tries import note
from selfheal_assets.stages.identity import DECISION_TAG, MODEL_TAG

RUNS_READ = 50
"""The last that failed, a tick."""
RECORDS_READ = 300
"""More than the failures on record of those runs can be, whoever recorded them and in whatever order."""


def failures_sensor(spec: ModelSpec) -> dg.SensorDefinition:
    """The sensor `m_failures`. The sensors that ask for runs record what they meet; this one records the rest."""

    @dg.sensor(
        name=f"{spec.name}_failures",
        asset_selection=dg.AssetSelection.assets(dg.AssetKey([spec.name, "training_set"])),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Writes down why a run of {spec.name} failed and what follows: transient failures are tried again later, "
            "those of memory with less, the rest not."
        ),
    )
    def failed(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SkipReason:
        unknown = _unknown(context.instance, selfheal, spec)
        number = note(context.instance, selfheal, spec, unknown)
        newest = selfheal.ledger.newest(spec.name, RecordKind.RUN_FAILURE, limit=number) if number else []
        words = [f"{r.subject} {r.payload['reason']} ({_following(r.status, r.payload['next_try'])})" for r in newest]
        said = f"{number} runs have failed since the last look" + "".join(f"; {each}" for each in reversed(words))
        context.log.info(said)
        return dg.SkipReason(said)

    return failed


def _following(step: str, at: str | None) -> str:
    return "given up" if step == NextStep.GIVE_UP else f"next try not before {at}"


def _unknown(instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec) -> list[dg.DagsterRun]:
    """Failed runs that no record is about, oldest first. A run that carried its decision to an end did not fail:
    a gate that refuses a candidate stops the run on purpose."""
    wanted = dg.RunsFilter(tags={MODEL_TAG: spec.name}, statuses=CRASHED)
    runs = [record.dagster_run for record in instance.get_run_records(wanted, limit=RUNS_READ)]
    known = {
        record.payload["run_id"]
        for record in selfheal.ledger.newest(spec.name, RecordKind.RUN_FAILURE, limit=RECORDS_READ)
    }
    unknown = [run for run in reversed(runs) if run.run_id not in known]
    decisions = {run.tags[DECISION_TAG] for run in unknown if DECISION_TAG in run.tags}
    ended = selfheal.ledger.current(spec.name, RecordKind.OUTCOME, sorted(decisions))
    return [run for run in unknown if run.tags.get(DECISION_TAG) not in ended]
