"""Let one model live through batches: rows in; the real evidence, incidents and decisions out. Never trains anything.

Every batch is measured by the stages' own functions, written to an in-memory ledger, and followed by steps of the core
until it has nothing to add. A batch comes each hour; labels that are late come in the half hour after a later batch.
A decision to heal is taken as carried out at once, and perfect: `retrain` and `recalibrate` promote a version that
scores as the one before, with the newest four batches as its reference and the last of them as its holdout; nothing is
ever found to be reinstated.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from alarms_home import BEGIN, ID, LABEL, TIME, Home
from alarms_world import Drawn

from selfheal_assets.core.causes import TOUCHES_PRODUCTION, Action
from selfheal_assets.core.drift_feature import FeatureDrift
from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.incident import Incident, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import Decision, DecisionStatus
from selfheal_assets.core.reconcile import reconcile
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.stages.batch_records import MATURED, BatchStatus, close_batch, measured_after, settle
from selfheal_assets.stages.champion import SCORE
from selfheal_assets.stages.drift_evidence import measured_drift
from selfheal_assets.stages.estimated_evidence import estimated_evidence
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.label_evidence import measured_labels
from selfheal_assets.stages.situation import gather

HOUR = timedelta(hours=1)
WINDOW = 4
"""Batches that a champion is learned from: the middle one of `training.windows`."""
MOST_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """What is said of a batch whatever its labels are."""

    evidence: tuple[Evidence, ...]
    features: tuple[FeatureDrift, ...]


@dataclass(frozen=True, kw_only=True)
class Healed:
    """One decision to touch production that was let through."""

    batch: int
    """The newest batch that had come."""
    labelled: int
    """The newest batch whose labels had come; -1 for none."""
    cause: str
    action: str
    incident: str


@dataclass
class Life:
    spec: ModelSpec
    home: Home
    reference: Drawn
    """Rows that the first champion was learned from, oldest first."""
    late: int
    """Batches by which labels come after their rows."""
    memo: dict[tuple[str, str], Unlabelled] = field(default_factory=dict)
    """Shared by lives on the same rows from the same reference."""
    heals: list[Healed] = field(default_factory=list)
    evidence: dict[int, list[Evidence]] = field(default_factory=dict)
    """By batch, as measured last."""
    _drawn: list[Drawn] = field(default_factory=list)
    _labelled: int = -1
    _version: int = 0

    def __post_init__(self) -> None:
        rows = self.reference.features.assign(**{LABEL: self.reference.label, SCORE: self.reference.score})
        self._promote("bootstrap", rows)

    def live(self, drawn: Drawn) -> Unlabelled:
        """One hour: a batch comes, and the labels that are due."""
        number = len(self._drawn)
        self._drawn.append(drawn)
        self.home.clock.at = BEGIN + number * HOUR
        found = self._arrive(number, drawn)
        self._settle()
        if self.late and number >= self.late:
            self.home.clock.at += HOUR / 2
            self._labels_come(number - self.late)
            self._settle()
        return found

    def incidents(self) -> list[Incident]:
        """As of their last transitions, in the order of opening."""
        records = self.home.ledger.after(self.spec.name, RecordKind.INCIDENT, 0, 1_000_000)
        return [Incident.from_record(record) for record in {r.subject: r for r in records}.values()]

    def _arrive(self, number: int, drawn: Drawn) -> Unlabelled:
        home, spec, batch_id, rows = self.home, self.spec, _batch_id(number), len(drawn.label)
        label = np.full(rows, np.nan) if self.late else drawn.label
        scores = pd.DataFrame(
            {
                ID: [f"{batch_id}-{row}" for row in range(rows)],
                TIME: pd.Timestamp(home.clock.at),
                LABEL: label,
                SCORE: drawn.score,
                "champion_version": str(self._version),
            }
        )
        home.ledger.append(self._record(RecordKind.BATCH_REGISTERED, batch_id, "LANDED", landed_at=str(home.clock.at)))
        counts = {"rows_landed": rows, "rows_clean": rows, "labelled_rows": 0 if self.late else rows}
        settle(home, spec, batch_id, BatchStatus.CLEAN, reasons=(), **counts)
        home.batches.write(spec.name, "features", batch_id, drawn.features)
        home.batches.write(spec.name, "scores", batch_id, scores)
        key = (str(self._version), batch_id)
        if key not in self.memo:
            moved, compared = measured_drift(home, spec, batch_id, scores)
            estimated = estimated_evidence(home, spec, batch_id, scores)
            features = compared.features.features if compared else ()
            self.memo[key] = Unlabelled(evidence=(*moved, estimated), features=features)
        if not self.late:
            self._labelled = number
        self._write(number, [*self.memo[key].evidence, *measured_labels(home, spec, batch_id, scores)])
        close_batch(home, spec, batch_id)
        return self.memo[key]

    def _labels_come(self, number: int) -> None:
        batch_id, label = _batch_id(number), self._drawn[number].label
        self.home.labels.came[batch_id] = pd.Series(label)
        figures = {"rows": len(label), "labelled_rows": len(label), "matured": 1.0, "corrections": 0, "files": []}
        self.home.ledger.append(self._record(RecordKind.LABELS, batch_id, MATURED, **figures))
        self._labelled = number
        scores = self.home.batches.read(self.spec.name, "scores", batch_id)
        self._write(number, measured_labels(self.home, self.spec, batch_id, scores))

    def _write(self, number: int, found: list[Evidence]) -> None:
        after = measured_after(self.home, self.spec, _batch_id(number))
        self.home.ledger.append(*(one.to_record(self.home.clock.now(), after) for one in found))
        known = {one.signal: one for one in self.evidence.get(number, [])}
        self.evidence[number] = list({**known, **{one.signal: one for one in found}}.values())

    def _settle(self) -> None:
        """Steps, with the runs that they ask for, until one changes nothing."""
        for _ in range(MOST_STEPS):
            step = reconcile(self.spec, gather(self.home.ledger, self.spec, self.home.clock.now()))
            if not self.home.ledger.append(*step.records()):
                return
            self.heals += [self._healed(one) for one in step.decisions if _touches(one)]
            self._carry_out()
        raise RuntimeError(f"the core must come to rest within {MOST_STEPS} steps; it did not after {len(self._drawn)}")

    def _healed(self, decision: Decision) -> Healed:
        return Healed(
            batch=len(self._drawn) - 1,
            labelled=self._labelled,
            cause=str(decision.cause),
            action=str(decision.action),
            incident=str(decision.incident),
        )

    def _carry_out(self) -> None:
        situation = gather(self.home.ledger, self.spec, self.home.clock.now())
        for decision in (heal.decision for heal in situation.heals if heal.outcome is None):
            if decision.payload["action"] == Action.REINSTATE:
                reason, result = "every version scores alike", str(Result.NONE_FITS)
                close(
                    self.home,
                    self.spec,
                    decision.subject,
                    OutcomeStatus.REFUSED,
                    version=None,
                    reason=reason,
                    result=result,
                )
            else:
                learned = [int(batch_id[1:]) for batch_id in decision.payload["training_batches"][-WINDOW:]]
                drawn = [self._drawn[number] for number in learned]
                rows = [one.features.assign(**{LABEL: one.label, SCORE: one.score}) for one in drawn]
                self._promote(decision.subject, pd.concat(rows, ignore_index=True))

    def _promote(self, decision_id: str, rows: pd.DataFrame) -> None:
        """A version that scores as `rows` are scored; its holdout is as large as the training stage makes it."""
        spec, smallest = self.spec, min(self.spec.training.windows) * len(rows) / WINDOW
        held_out = rows.tail(round(spec.training.holdout_share * smallest))
        value = metric(spec.performance.metric, held_out[LABEL].to_numpy(), held_out[SCORE].to_numpy())
        frozen = rows.tail(spec.drift.reference_rows)
        frozen = frozen.assign(**{SCORE: frozen[SCORE].where(frozen.index.isin(held_out.index))})
        self._version += 1
        version = str(self._version)
        self.home.batches.write(spec.name, "reference", version, frozen.reset_index(drop=True))
        # Without shares of importance every feature counts: the hardest case for false alarms.
        self.home.batches.documents[f"reference-{version}"] = {"metric": value, "importance": {}}
        close(
            self.home,
            spec,
            decision_id,
            OutcomeStatus.PROMOTED,
            version=version,
            reason=f"{spec.performance.metric} {value:.4f} on the holdout",
            metric=value,
        )

    def _record(self, kind: RecordKind, batch_id: str, status: str, **payload: Any) -> Record:
        now = self.home.clock.now()
        return Record(
            key=f"{kind}:{self.spec.name}:{batch_id}",
            model=self.spec.name,
            kind=kind,
            subject=batch_id,
            status=status,
            event_time=now,
            recorded_at=now,
            payload=payload,
        )


def _batch_id(number: int) -> str:
    return f"b{number:05d}"


def _touches(decision: Decision) -> bool:
    return decision.action in TOUCHES_PRODUCTION and decision.status is DecisionStatus.DECIDED
