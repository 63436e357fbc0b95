"""Judge a candidate against the champion on the same held-out rows: versions in, gates out. Never moves an alias."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.gate_comparison import (
    no_slice_collapses,
    not_worse_than_champion,
)
from selfheal_assets.core.gates import (
    GateResult,
    Verdict,
    calibration,
    disjoint_holdout,
    latency,
    metric_floor,
    no_quarantined_batches,
    overall,
    reload_agrees,
)
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.rollout_look import score_distance
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.ports import LabelledRows, Model, ModelVersion, Services
from selfheal_assets.stages.batch_records import USABLE
from selfheal_assets.stages.candidates import candidate_of, learned_from
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.golden_probe import keep_probe
from selfheal_assets.stages.governance import run_of
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, TRAIN, labelled

if TYPE_CHECKING:
    import numpy as np

TIMED_ROWS, TIMES_A_ROW = 100, 3
RELOADED_ROWS = 500


def judged(
    services: Services, spec: ModelSpec, decision: Record
) -> "tuple[Judgement, list[GateResult], dict[str, Any]]":
    """The judgement of the decision's candidate, its gates and its report; a refusal ends the decision."""
    version, serving = candidate_of(services, spec, decision), champion(services, spec)
    judgement = Judgement(services, spec, decision, version, serving)
    results, report = judgement.standing() or judgement.judge()
    if report["verdict"] != Verdict.PASS:
        failing = "; ".join(f"{r.name}: {r.reason}" for r in results if r.verdict is not Verdict.PASS)
        close(
            services,
            spec,
            decision.subject,
            OutcomeStatus.REFUSED,
            version=version.version,
            reason=failing,
            result=Result.REFUSED,
            **run_of(services, version),
        )
    return judgement, results, report


class Judgement:
    """A candidate and, where there is one, the champion, scored on the same held-out rows."""

    def __init__(
        self, services: Services, spec: ModelSpec, decision: Record, version: ModelVersion, serving: ModelVersion | None
    ) -> None:
        self.services, self.spec, self.decision = services, spec, decision
        self.version, self.serving = version, serving
        frame = services.batches.read(spec.name, "training", decision.subject)
        # An archived version learned from other batches than this frame's.
        self._batch_ids = sorted({*frame[BATCH], *learned_from(services, spec, version)})
        self._train: LabelledRows = labelled(services, spec, frame, TRAIN)
        self.holdout: LabelledRows = labelled(services, spec, frame, HOLDOUT)
        self._model: Model = services.registry.load(version)
        self.score = self._model.score(self.holdout.features)
        self.champion_score = services.registry.load(serving).score(self.holdout.features) if serving else None

    def standing(self) -> tuple[list[GateResult], dict[str, Any]] | None:
        """The judgement by which the candidate already serves, when a crashed run of its decision is run again."""
        if self.serving is None or self.serving.version != self.version.version:
            return None
        report = self.services.batches.read_document(self.spec.name, f"validation-{self.decision.subject}")
        if report is None:
            return None
        return [_from_row(row) for row in report["gates"]], report

    def judge(self) -> tuple[list[GateResult], dict[str, Any]]:
        results = self._results()
        # Before the verdict: whatever may be promoted can be probed.
        keep_probe(self.services.registry, self.version, self.holdout.features, self.score)
        return results, self._write(results)

    def _results(self) -> list[GateResult]:
        gate, name = self.spec.gate, self.spec.performance.metric
        label, score, against = self.holdout.label, self.score, self.champion_score
        rows = self.spec.performance.min_rows
        slices = {column: self.holdout.features[column].to_numpy(dtype=object) for column in gate.slices}
        return [
            metric_floor(name, label, score, floor=gate.metric_floor, min_rows=rows),
            not_worse_than_champion(
                name,
                label,
                score,
                against,
                margin=gate.margin,
                confidence=gate.confidence,
                seed=self.spec.training.seed,
            ),
            no_slice_collapses(
                name, label, score, against, slices, max_drop=gate.max_slice_drop, min_rows=gate.min_slice_rows
            ),
            calibration(label, score, max_error=gate.max_calibration_error, min_rows=rows),
            latency(self._milliseconds(), max_ms=gate.max_latency_ms),
            reload_agrees(score[:RELOADED_ROWS], self._reloaded()),
            no_quarantined_batches(self._batch_ids, self._unusable_batches()),
            disjoint_holdout(self._train.event_id, self.holdout.event_id),
        ]

    def _milliseconds(self) -> list[float]:
        """The best of three a row: a machine that is busy with something else does not speak against the model."""
        rows = range(min(TIMED_ROWS, len(self.holdout.features)))
        return [min(self._timed(position) for _ in range(TIMES_A_ROW)) for position in rows]

    def _timed(self, position: int) -> float:
        row = self.holdout.features.iloc[[position]]
        begun = time.perf_counter()
        self._model.score(row)
        return 1_000 * (time.perf_counter() - begun)

    def _reloaded(self) -> "np.ndarray":
        folder = self.services.registry.folder(self.version)
        return self.services.trainer.reload_scores(folder, self.holdout.features.head(RELOADED_ROWS))

    def _unusable_batches(self) -> list[str]:
        """Batches of the training set that are not, or no longer, clean."""
        current = self.services.ledger.current(self.spec.name, RecordKind.BATCH_SETTLED, self._batch_ids)
        return [b for b in self._batch_ids if b not in current or current[b].status not in USABLE]

    def _write(self, results: Sequence[GateResult]) -> dict[str, Any]:
        """The document that `m/champion_model` reads."""
        name, label = self.spec.performance.metric, self.holdout.label
        against = None if self.champion_score is None else metric(name, label, self.champion_score)
        verdict = str(overall(results))
        report = {
            "verdict": verdict,
            "version": self.version.version,
            "champion_version": self.serving.version if self.serving else None,
            "metric": metric(name, label, self.score),
            "champion_metric": against,
            "score_distance": 0.0 if self.champion_score is None else score_distance(self.champion_score, self.score),
            "importance": self._model.importance(),
            "gates": [_row(result) for result in results],
        }
        self.services.batches.write_document(self.spec.name, f"validation-{self.decision.subject}", report)
        self.services.registry.tag(self.version, {"verdict": verdict})
        return report


def _row(result: GateResult) -> dict[str, Any]:
    return {
        "gate": result.name,
        "verdict": str(result.verdict),
        "value": result.value,
        "threshold": result.threshold,
        "reason": result.reason,
    }


def _from_row(row: dict[str, Any]) -> GateResult:
    return GateResult(row["gate"], Verdict(row["verdict"]), row["value"], row["threshold"], None, row["reason"])
