"""Judge the demonstration: its batches, incidents and champions in, the expectations that failed out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.incident import IncidentState
from selfheal_assets.operations import story
from selfheal_assets.operations.demo_served import Served
from selfheal_assets.stages.case_file import CaseFile

MOVED = "harmful_shift"
"""What is wrong with the batches of the new world, as long as the old champion scores them."""
NEW_WORLD = "healthy_new_world"
ANSWERS = "live_answers"
"""What a batch is that the model server landed."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the demonstration shows, and whether selfheal passed it."""

    wall_s: float
    metric: str
    batches: Sequence[story.BatchStory]
    faults: Mapping[str, str]
    """What is wrong with each scripted batch, by file."""
    cases: Sequence[CaseFile]
    champions: Sequence[story.Champion]
    rows_dropped: int
    """Of the scripted batches."""
    served: Served | None
    """What live traffic met; None when only the batches were played."""

    def fault_of(self, batch: story.BatchStory) -> str:
        return self.faults.get(batch.file_name, ANSWERS)

    @property
    def truths(self) -> dict[str, str]:
        """The same by file name, of every batch."""
        return {b.file_name: self.fault_of(b) for b in self.batches}

    def rows_of(self, *, scripted: bool) -> tuple[int, int]:
        """Clean and quarantined rows."""
        batches = [b for b in self.batches if (b.file_name in self.faults) is scripted]
        return sum(b.rows_clean for b in batches), sum(b.rows_quarantined for b in batches)

    @property
    def healed(self) -> list[CaseFile]:
        """Retrainings for harm that ended in a promotion."""
        return [case for case in self.cases if case.action is Action.RETRAIN and case.repaired_s is not None]

    def failures(self) -> list[str]:
        """Every expectation that was not met; empty when all were."""
        clean, bad = self.rows_of(scripted=True)
        harmless = [b for b in self.batches if self.fault_of(b) == "benign_shift"]
        retrained_for = {b for case in self.healed for b in case.incident.batch_ids}
        expectations: dict[str, Callable[[], bool]] = {
            "the batch with bad rows loses those rows only": lambda: self._verdict("bad_rows") == "PARTIAL",
            "the batch in cents is quarantined whole": lambda: self._verdict("unit_change") == "QUARANTINED",
            f"no row is lost: {self.rows_dropped} landed, {clean} clean, {bad} quarantined": lambda: (
                self.rows_dropped == clean + bad
            ),
            "the harmless shift causes no retraining": lambda: not any(b.batch_id in retrained_for for b in harmless),
            "exactly one retraining is promoted, for the harmful drift": lambda: (
                [case.incident.cause for case in self.healed] == [Cause.HARMFUL_DRIFT]
            ),
            "the metric comes back": self._metric_came_back,
        }
        missed = [text for text, holds in expectations.items() if not holds()]
        return missed + ([] if self.served is None else self.served.failures())

    def _verdict(self, fault: str) -> str:
        return next((b.verdict for b in self.batches if self.fault_of(b) == fault), "missing")

    def _metric_came_back(self) -> bool:
        """Every batch of the new world is CLEAR, and the incident is verified."""
        after = [b for b in self.batches if self.fault_of(b) == NEW_WORLD]
        resolved = all(case.incident.state is IncidentState.RESOLVED for case in self.healed)
        return bool(after) and resolved and all(b.performance == "CLEAR" for b in after)

    def as_json(self) -> dict[str, Any]:
        clean, bad = self.rows_of(scripted=True)
        return {
            "ok": not self.failures(),
            "failures": self.failures(),
            "wall_s": self.wall_s,
            "rows": {"landed": self.rows_dropped, "clean": clean, "quarantined": bad},
            "batches": [
                {
                    "batch_id": b.batch_id,
                    "fault": self.fault_of(b),
                    "verdict": b.verdict,
                    "rows_clean": b.rows_clean,
                    "rows_quarantined": b.rows_quarantined,
                    "action": b.action,
                }
                for b in self.batches
            ],
            "incidents": [
                {
                    "id": case.incident.id,
                    "cause": str(case.incident.cause),
                    "action": str(case.action),
                    "state": str(case.incident.state),
                    "detected_s": case.detected_s,
                    "repaired_s": case.repaired_s,
                    "metric": case.metric,
                    "before": case.incident.before,
                    "worst": case.worst,
                    "after": case.metric_after,
                }
                for case in self.cases
            ],
            "champions": [
                {"version": c.version, "promoted_at": c.promoted_at.astimezone(UTC).isoformat(), "metric": c.metric}
                for c in self.champions
            ],
            "retrains_promoted": len(self.healed),
            "serving": None if self.served is None else self.served.as_json(),
        }
