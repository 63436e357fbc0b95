"""Check the model: a candidate and the champion on the same held-out rows in, a judgement out. Never moves an alias."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

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
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.ports import LabelledRows, Model, ModelVersion, Services
from selfheal_assets.stages.batch_records import USABLE
from selfheal_assets.stages.candidates import candidate_of, learned_from
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.heal_decision import close, heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, TRAIN, labelled

if TYPE_CHECKING:
    import numpy as np

GATES = {
    "metric_floor": "The holdout metric reaches the declared floor.",
    "not_worse_than_champion": "On the same holdout rows, not worse than the champion by more than the margin.",
    "no_slice_collapses": "No level of a declared slice falls far below the champion.",
    "calibration": "The expected calibration error is within bounds.",
    "latency": "Scoring one row is fast enough at the 99th percentile.",
    "reload_agrees": "The artifact, loaded by a fresh process, gives the same scores.",
    "no_quarantined_batches": "No quarantined batch is in the training set.",
    "disjoint_holdout": "No held-out event was trained on.",
}
TIMED_ROWS, TIMES_A_ROW = 100, 3
RELOADED_ROWS = 500


def validation_report(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/validation_report`, with a blocking check a gate."""
    asset_key = key(spec, "validation_report")

    @dg.asset(
        **attributes(spec, "validation_report", "xgboost"),
        deps=[key(spec, "candidate_model")],
        description="Judgement of the candidate: floors, champion comparison, slices, calibration, latency, reload.",
        check_specs=[
            dg.AssetCheckSpec(name, asset=asset_key, blocking=True, description=description)
            for name, description in GATES.items()
        ],
    )
    def validation_report(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        version, serving = candidate_of(selfheal, spec, decision), champion(selfheal, spec)
        judged = _Judgement(selfheal, spec, decision, version, serving)
        results, report = judged.standing() or judged.judge()
        context.log.info(f"{spec.name} version {version.version}: {report['verdict']}")
        if report["verdict"] != Verdict.PASS:
            failing = "; ".join(f"{r.name}: {r.reason}" for r in results if r.verdict is not Verdict.PASS)
            close(
                selfheal,
                spec,
                decision.subject,
                OutcomeStatus.REFUSED,
                version=version.version,
                reason=failing,
                result=Result.REFUSED,
            )
        return dg.MaterializeResult(
            metadata=judged.metadata(results, report),
            check_results=[_check_result(asset_key, result) for result in results],
        )

    return validation_report


class _Judgement:
    """A candidate and, where there is one, the champion, scored on the same held-out rows."""

    def __init__(
        self, services: Services, spec: ModelSpec, decision: Record, version: ModelVersion, serving: ModelVersion | None
    ) -> None:
        self._services, self._spec, self._decision = services, spec, decision
        self._version, self._serving = version, serving
        frame = services.batches.read(spec.name, "training", decision.subject)
        # An archived version learned from other batches than this frame's.
        self._batch_ids = sorted({*frame[BATCH], *learned_from(services, spec, version)})
        self._train: LabelledRows = labelled(services, spec, frame, TRAIN)
        self._holdout: LabelledRows = labelled(services, spec, frame, HOLDOUT)
        self._model: Model = services.registry.load(version)
        self._score = self._model.score(self._holdout.features)
        self._champion_score = services.registry.load(serving).score(self._holdout.features) if serving else None

    def standing(self) -> tuple[list[GateResult], dict[str, Any]] | None:
        """The judgement by which the candidate already serves, when a crashed run of its decision is run again."""
        if self._serving is None or self._serving.version != self._version.version:
            return None
        report = self._services.batches.read_document(self._spec.name, f"validation-{self._decision.subject}")
        if report is None:
            return None
        return [_from_row(row) for row in report["gates"]], report

    def judge(self) -> tuple[list[GateResult], dict[str, Any]]:
        results = self._results()
        return results, self._write(results)

    def _results(self) -> list[GateResult]:
        gate, name = self._spec.gate, self._spec.performance.metric
        label, score, against = self._holdout.label, self._score, self._champion_score
        rows = self._spec.performance.min_rows
        slices = {column: self._holdout.features[column].to_numpy(dtype=object) for column in gate.slices}
        return [
            metric_floor(name, label, score, floor=gate.metric_floor, min_rows=rows),
            not_worse_than_champion(
                name,
                label,
                score,
                against,
                margin=gate.margin,
                confidence=gate.confidence,
                seed=self._spec.training.seed,
            ),
            no_slice_collapses(
                name, label, score, against, slices, max_drop=gate.max_slice_drop, min_rows=gate.min_slice_rows
            ),
            calibration(label, score, max_error=gate.max_calibration_error, min_rows=rows),
            latency(self._milliseconds(), max_ms=gate.max_latency_ms),
            reload_agrees(score[:RELOADED_ROWS], self._reloaded()),
            no_quarantined_batches(self._batch_ids, self._unusable_batches()),
            disjoint_holdout(self._train.event_id, self._holdout.event_id),
        ]

    def _milliseconds(self) -> list[float]:
        """The best of three a row: a machine that is busy with something else does not speak against the model."""
        rows = range(min(TIMED_ROWS, len(self._holdout.features)))
        return [min(self._timed(position) for _ in range(TIMES_A_ROW)) for position in rows]

    def _timed(self, position: int) -> float:
        row = self._holdout.features.iloc[[position]]
        begun = time.perf_counter()
        self._model.score(row)
        return 1_000 * (time.perf_counter() - begun)

    def _reloaded(self) -> "np.ndarray":
        folder = self._services.registry.folder(self._version)
        return self._services.trainer.reload_scores(folder, self._holdout.features.head(RELOADED_ROWS))

    def _unusable_batches(self) -> list[str]:
        """Batches of the training set that are not, or no longer, clean."""
        current = self._services.ledger.current(self._spec.name, RecordKind.BATCH_SETTLED, self._batch_ids)
        return [b for b in self._batch_ids if b not in current or current[b].status not in USABLE]

    def _write(self, results: Sequence[GateResult]) -> dict[str, Any]:
        """The document that `m/champion_model` reads."""
        name, label = self._spec.performance.metric, self._holdout.label
        against = None if self._champion_score is None else metric(name, label, self._champion_score)
        verdict = str(overall(results))
        report = {
            "verdict": verdict,
            "version": self._version.version,
            "champion_version": self._serving.version if self._serving else None,
            "metric": metric(name, label, self._score),
            "champion_metric": against,
            "importance": self._model.importance(),
            "gates": [_row(result) for result in results],
        }
        self._services.batches.write_document(self._spec.name, f"validation-{self._decision.subject}", report)
        self._services.registry.tag(self._version, {"verdict": verdict})
        return report

    def metadata(self, results: Sequence[GateResult], report: dict[str, Any]) -> dict[str, Any]:
        from selfheal_assets.stages.plots import as_markdown, validation_plot

        drawn = validation_plot(results, self._holdout.label, self._score, self._champion_score)
        return {
            "verdict": report["verdict"],
            "decision": self._decision.subject,
            "version": report["version"],
            "champion_version": str(report["champion_version"]),
            f"holdout_{self._spec.performance.metric}": number(report["metric"]),
            "champion_metric": number(report["champion_metric"]),
            "holdout_rows": len(self._holdout.label),
            "gates": table(report["gates"]),
            "judgement": dg.MetadataValue.md(as_markdown(drawn, "the judgement")),
            "mlflow": dg.MetadataValue.url(self._services.registry.link(self._version)),
        }


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


def _check_result(asset_key: dg.AssetKey, result: GateResult) -> dg.AssetCheckResult:
    low, high = result.interval or (None, None)
    return dg.AssetCheckResult(
        check_name=result.name,
        asset_key=asset_key,
        passed=result.verdict is Verdict.PASS,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{result.verdict}: {result.reason}",
        metadata={
            "verdict": str(result.verdict),
            "value": number(result.value),
            "threshold": number(result.threshold),
            "interval": "none" if low is None else f"{low:.4f} to {high:.4f}",
        },
    )
