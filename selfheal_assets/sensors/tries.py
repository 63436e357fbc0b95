"""Find where the tries of a subject stand: its failed runs are recorded, and when to try again is told. Never asks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

import dagster as dg

from selfheal_assets.core.failures import FailureClass, NextStep, NextTry, classify, next_try
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.resources import can_grow
from selfheal_assets.ports import Ledger, Services
from selfheal_assets.sensors.memory import on_kubernetes
from selfheal_assets.sensors.run_errors import run_error
from selfheal_assets.sensors.runs import ENDED, runs_with_tag
from selfheal_assets.stages.batch_records import labelled_rows
from selfheal_assets.stages.failure_records import (
    RECORDS_READ,
    failure_record,
    failures,
    is_final,
    not_before,
    out_of_memory,
    told,
)
from selfheal_assets.stages.identity import BACKLOG_TAG, DECISION_TAG, LABELS_TAG, ROLLOUT_TAG, ROW_CAP_TAG, SIZE_TAG

ASKED_FOR = (ROLLOUT_TAG, DECISION_TAG, BACKLOG_TAG, LABELS_TAG)
"""Tags of runs that a sensor asks for; their values are the subjects of failures. A run of a rollout also names the
decision."""
BY_HAND = NextTry(step=NextStep.GIVE_UP, reason="failed; a person launched it, and nobody else asks for it again")


@dataclass(frozen=True, kw_only=True)
class Tries:
    """What became of the runs of one subject, none of which is under way."""

    launched: int
    failures: Sequence[Record]
    """Oldest first."""

    @property
    def last(self) -> Record | None:
        return self.failures[-1] if self.failures else None

    @property
    def given_up(self) -> bool:
        return self.last is not None and is_final(self.last)

    def waits_until(self, now: datetime) -> datetime | None:
        """The time of the next try, while it lies ahead."""
        at = not_before(self.last) if self.last else None
        return at if at is not None and now < at else None

    @property
    def sample(self) -> int | None:
        """How much the next run may work on at most; None: all."""
        return next((f.payload["sample"] for f in reversed(self.failures) if f.payload["sample"] is not None), None)

    @property
    def out_of_memory(self) -> int:
        return out_of_memory(self.failures)

    @property
    def words(self) -> str:
        """What happened last, for people."""
        return f"{self.last.payload['reason']}: {told(self.last)}" if self.last else "not tried yet"


def tries(instance: dg.DagsterInstance, services: Services, spec: ModelSpec, tag: str, subject: str) -> Tries:
    """Of a subject that is not done and has no run under way; a run that ended well did not do it, either.

    Ask in this order: is a run under way, is it done, where do the tries stand. Otherwise a run that ends in between is
    taken for one that left its work undone.
    """
    ended = instance.get_run_records(dg.RunsFilter(tags={tag: subject}, statuses=ENDED), limit=RECORDS_READ)
    if ended:
        note(instance, services, spec, [record.dagster_run for record in reversed(ended)])
    return Tries(
        launched=runs_with_tag(instance, tag, subject),
        failures=failures(services.ledger, spec, subject) if ended else (),
    )


def note(instance: dg.DagsterInstance, services: Services, spec: ModelSpec, ended: Sequence[dg.DagsterRun]) -> int:
    """Record the failures, oldest first, that are not recorded yet; how many. Doing it twice changes nothing."""
    number = 0
    for run in ended:
        subject = subject_of(run)
        known = failures(services.ledger, spec, subject)
        if run.run_id not in {record.payload["run_id"] for record in known}:
            number += services.ledger.append(_noted(instance, services, spec, run, subject, known))
    return number


def subject_of(run: dg.DagsterRun) -> str:
    """What the run was asked for; its own id for one that a person launched."""
    return next((run.tags[tag] for tag in ASKED_FOR if tag in run.tags), run.run_id)


def _noted(
    instance: dg.DagsterInstance,
    services: Services,
    spec: ModelSpec,
    run: dg.DagsterRun,
    subject: str,
    known: Sequence[Record],
) -> Record:
    error, now, attempt = run_error(instance, run), services.clock.now(), len(known) + 1
    kind = classify(error.chain)
    if subject == run.run_id:
        following = BY_HAND
    else:
        size, least = _size(services.ledger, spec, run)
        if kind is FailureClass.OUT_OF_MEMORY and _has_room(instance, spec, run, known):
            size = None  # the next run has more memory, and takes as many rows
        following = next_try(kind, attempt, now, _draw(run.run_id), size=size, least=least)
    facts = {
        "job": run.job_name,
        "step": error.step,
        "error_class": error.error_class,
        "message": error.message,
        "failure": kind,
        "attempt": attempt,
    }
    return failure_record(spec, subject, run.run_id, now, following, facts)


def _size(ledger: Ledger, spec: ModelSpec, run: dg.DagsterRun) -> tuple[int | None, int]:
    """How much the run worked on, and the least that is of use: batches of an ingest, rows of a training."""
    if BACKLOG_TAG in run.tags:
        return _number(run.tags.get(SIZE_TAG)) or 1, 1
    if DECISION_TAG not in run.tags or ROLLOUT_TAG in run.tags:
        return None, 1
    least = ceil(spec.training.min_rows / (1.0 - spec.training.holdout_share))
    if cap := _number(run.tags.get(ROW_CAP_TAG)):
        return cap, least
    decision = ledger.newest(spec.name, RecordKind.DECISION, subject=run.tags[DECISION_TAG])
    batches = decision[0].payload.get("training_batches", []) if decision else []
    settled = ledger.current(spec.name, RecordKind.BATCH_SETTLED, batches)
    return sum(labelled_rows(ledger, spec, list(settled.values())).values()) or None, least


def _has_room(instance: dg.DagsterInstance, spec: ModelSpec, run: dg.DagsterRun, known: Sequence[Record]) -> bool:
    """Whether the pods of the next training have more memory than those of this one."""
    trains = DECISION_TAG in run.tags and ROLLOUT_TAG not in run.tags
    return trains and can_grow(spec.training.resources, out_of_memory(known) + 1) and on_kubernetes(instance)


def _number(text: str | None) -> int | None:
    """People may write what they like into a tag."""
    return int(text) if text and text.isdecimal() else None


def _draw(run_id: str) -> float:
    """Uniform in [0, 1), the same for a run whoever asks: the record of its failure is then the same, too."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:6]) / 2**48
