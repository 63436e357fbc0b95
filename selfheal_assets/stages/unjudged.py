"""Keep Dagster from warning of gates where nothing was to be judged. Never hides a gate that failed."""

import logging

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.stages.identity import key

PLANNER = "dagster._core.execution.plan.active"
"""The logger of what plans a run's steps."""


class _SaysNothingNew(logging.Filter):
    """Drops a line for each gate of one model whose judgement was passed over.

    When the archive holds nothing that fits, there is no candidate, and Dagster skips the judgement and what follows.
    It then says of each gate that the promotion goes on without it. It does not: it is skipped as well, and a promotion
    needs the judgement's own PASS (`succession.passed`), whatever Dagster lets begin.
    """

    def __init__(self, report: str) -> None:
        super().__init__()
        self.report = report

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return not (said.startswith(f"Blocking asset check '{self.report}:") and "emitted no result" in said)


def without_unjudged_warnings(spec: ModelSpec) -> None:
    """For the gates of the model's judgement in this process; twice changes nothing."""
    report = key(spec, "validation_report").to_user_string()
    planner = logging.getLogger(PLANNER)
    if not any(isinstance(one, _SaysNothingNew) and one.report == report for one in planner.filters):
        planner.addFilter(_SaysNothingNew(report))
