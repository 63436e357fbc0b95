"""Watch the healer: the state of its sensors, runs, incidents and batches in; what is not well out. Never mends it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from selfheal_assets.core.causes import TOUCHES_PRODUCTION
from selfheal_assets.core.incident import Incident, IncidentState
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.policy_spec import PolicySpec
from selfheal_assets.core.watched import (
    BacklogFact,
    DecisionFact,
    Facts,
    IncidentFact,
    RunFact,
    SensorFact,
    UndecidedRunFact,
    Worker,
)

SILENT_INTERVALS = 10
SILENT_AFTER = timedelta(minutes=5)
"""A sensor is silent after the longer of the two: so many of its intervals, or this."""
FAILING_TICKS = 3
"""In a row; one may be a restart of the code location."""
DEAD_AFTER = timedelta(minutes=1)
"""Without an event, and without a process. Between its last event and its end a process lives for seconds."""
QUEUED_AFTER = timedelta(minutes=30)
NO_RUN_AFTER = timedelta(minutes=5)
"""A decision is carried out by a run that is asked for in the next tick."""
UNTAKEN_AFTER = timedelta(minutes=15)
RIGHTLY_HELD = frozenset({"flag", "autonomy", "approval", "no_harm"})
"""Holds that people chose, or that have an end of their own; and what does no harm."""


class Fault(StrEnum):
    SENSOR_OFF = "sensor switched off"
    SENSOR_SILENT = "sensor stopped ticking"
    SENSOR_FAILING = "sensor keeps failing"
    RUN_DEAD = "run without a process"
    RUN_STUCK = "run stuck"
    RUN_QUEUED = "run waits too long"
    INCIDENT_STALLED = "incident stalled"
    DECISION_WITHOUT_RUN = "decision without a run"
    RUN_WITHOUT_DECISION = "run without a decision"
    BATCHES_UNTAKEN = "batches that no run takes"
    LEDGER_SILENT = "ledger does not answer"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not well."""

    fault: Fault
    subject: str
    """What it is about: a sensor's name, or an id."""
    words: str
    """What is seen, and what a person can do."""
    incident: str | None = None

    @property
    def key(self) -> str:
        """The same as long as it stands."""
        return f"{self.fault}: {self.subject}"

    @property
    def mends_itself(self) -> bool:
        """Whether there is a repair that cannot do harm: a dead run is reported as failed, and asked for again."""
        return self.fault is Fault.RUN_DEAD

    @property
    def severity(self) -> Severity:
        mild = self.mends_itself or self.fault is Fault.SENSOR_OFF  # Switched off by somebody, who knows.
        return Severity.WARNING if mild else Severity.FAILURE


def watch(policy: PolicySpec, facts: Facts) -> list[Finding]:
    """Everything that is not well, in a fixed order."""
    found = [finding for sensor in facts.sensors for finding in _sensor(sensor)]
    found += [finding for run in facts.runs for finding in _run(policy, run)]
    found += [finding for incident in facts.incidents for finding in _incident(policy, incident)]
    found += [finding for decision in facts.decisions for finding in _decision(decision)]
    found += [finding for run in facts.undecided for finding in _undecided(run)]
    found += _backlog(facts.backlog)
    return [*found, *_ledger(facts.ledger_error)]


def _sensor(fact: SensorFact) -> Iterator[Finding]:
    if fact.switched_off:
        words = f"{fact.name} is switched off: its part of healing stands still. Switch it on in Dagster's UI."
        yield Finding(fault=Fault.SENSOR_OFF, subject=fact.name, words=words)
        return
    if fact.silent_for is not None and fact.silent_for > max(SILENT_AFTER, SILENT_INTERVALS * fact.interval):
        words = f"{fact.name} has not ticked for {_age(fact.silent_for)}. Look at the daemon and the code location."
        yield Finding(fault=Fault.SENSOR_SILENT, subject=fact.name, words=words)
    if fact.failed_in_a_row >= FAILING_TICKS:
        words = f"the last {fact.failed_in_a_row} ticks of {fact.name} failed: {fact.error}. See its ticks in Dagster."
        yield Finding(fault=Fault.SENSOR_FAILING, subject=fact.name, words=words)


def _run(policy: PolicySpec, fact: RunFact) -> Iterator[Finding]:
    name, silent = f"run {fact.run_id} of {fact.job}", _age(fact.silent_for)
    if fact.worker is Worker.DEAD:
        if fact.silent_for > DEAD_AFTER:
            words = f"{name} has no process, and its last event is {silent} old. It is asked for again."
            yield Finding(fault=Fault.RUN_DEAD, subject=fact.run_id, words=words)
    elif not fact.begun:
        if fact.silent_for > QUEUED_AFTER:
            words = f"{name} has waited for {silent}. See what holds up the queue, or why it is not launched."
            yield Finding(fault=Fault.RUN_QUEUED, subject=fact.run_id, words=words)
    elif fact.silent_for > timedelta(minutes=policy.stuck_run_minutes):
        words = f"{name} has written no event for {silent}. Look at it, and end it in Dagster's UI if it hangs."
        yield Finding(fault=Fault.RUN_STUCK, subject=fact.run_id, words=words)


def _incident(policy: PolicySpec, fact: IncidentFact) -> Iterator[Finding]:
    incident = fact.incident
    if fact.for_ <= timedelta(hours=policy.stalled_incident_hours) or fact.rolling_out or _waits_rightly(incident):
        return
    held = f", held by {incident.hold}" if incident.hold else ""
    words = (
        f"{incident.cause} has been {incident.state.lower()}{held} for {_age(fact.for_)}: {incident.reason}. "
        f"See `selfheal incidents {incident.id}`."
    )
    # By its state: stalled in the next one, it is told again.
    subject = f"{incident.id} {incident.state}"
    yield Finding(fault=Fault.INCIDENT_STALLED, subject=subject, words=words, incident=incident.id)


def _waits_rightly(incident: Incident) -> bool:
    """For people, who were told, or for data: what was only watched or notified of lasts as long as its cause."""
    if incident.state is IncidentState.VERIFYING:
        return incident.tried[-1].action not in TOUCHES_PRODUCTION
    held = incident.state is IncidentState.SUPPRESSED and incident.hold in RIGHTLY_HELD
    return held or incident.state is IncidentState.ESCALATED or incident.ended


def _decision(fact: DecisionFact) -> Iterator[Finding]:
    if fact.for_ > NO_RUN_AFTER:
        words = (
            f"decision {fact.decision_id} to {fact.action} was let through {_age(fact.for_)} ago, and no run was "
            "launched for it. See the ticks of the drift sensor, and the run queue."
        )
        yield Finding(fault=Fault.DECISION_WITHOUT_RUN, subject=fact.decision_id, words=words, incident=fact.incident)


def _undecided(fact: UndecidedRunFact) -> Iterator[Finding]:
    if fact.for_ > NO_RUN_AFTER:
        words = (
            f"run {fact.run_id} names decision {fact.decision_id}, which the ledger does not have. Was the ledger "
            "replaced? Run `selfheal ledger verify`."
        )
        yield Finding(fault=Fault.RUN_WITHOUT_DECISION, subject=fact.run_id, words=words)


def _backlog(fact: BacklogFact | None) -> Iterator[Finding]:
    if fact is not None and fact.batch_ids and fact.for_ > UNTAKEN_AFTER:
        named = ", ".join(fact.batch_ids[:3])
        words = (
            f"{len(fact.batch_ids)} open batches ({named}) have waited for {_age(fact.for_)}, and no ingest is at "
            "work. See the ticks of the arrivals sensor, and the run queue."
        )
        yield Finding(fault=Fault.BATCHES_UNTAKEN, subject="backlog", words=words)


def _ledger(error: str) -> Iterator[Finding]:
    if error:
        words = f"nothing is healed until it does: {error}"
        yield Finding(fault=Fault.LEDGER_SILENT, subject="ledger", words=words)


def _age(age: timedelta) -> str:
    minutes = age.total_seconds() / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
