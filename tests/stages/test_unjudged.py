"""A run in which nothing fits: what follows is passed over, and no gate is said to be gone round."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest
from brain import spec

from selfheal_assets.stages import check_model
from selfheal_assets.stages.identity import key

SPEC = replace(spec(), name="payments")


def a_run_without_a_candidate() -> dg.ExecuteInProcessResult:
    """The archive holds nothing that fits; the judgement is the real one, which nothing gives anything to judge."""

    @dg.asset(key=key(SPEC, "candidate_model"), output_required=False)
    def candidate_model() -> Iterator[dg.MaterializeResult]:
        yield from ()

    @dg.asset(key=key(SPEC, "champion_model"), deps=[key(SPEC, "validation_report")])
    def champion_model() -> None:
        raise AssertionError("nothing was judged")

    assets = [candidate_model, check_model.validation_report(SPEC), champion_model]
    job = dg.Definitions(
        assets=assets, jobs=[dg.define_asset_job("payments_retrain")], resources={"selfheal": object()}
    ).resolve_job_def("payments_retrain")
    return job.execute_in_process()


def test_where_nothing_is_to_be_judged_no_gate_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = a_run_without_a_candidate()
    assert found.success
    skipped = {event.step_key for event in found.get_step_skipped_events()}
    assert skipped == {"payments__validation_report", "payments__champion_model"}
    assert not [record for record in caplog.records if "emitted no result" in record.getMessage()]


def test_what_dagster_says_of_other_checks_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    check_model.validation_report(SPEC)
    planner = logging.getLogger("dagster._core.execution.plan.active")
    with caplog.at_level(logging.WARNING):
        for report in ("payments/validation_report", "others/validation_report", "payments/clean_batch"):
            planner.warning("Blocking asset check '%s:latency' emitted no result in step 'a'", report)
    assert [record.args for record in caplog.records] == [("others/validation_report",), ("payments/clean_batch",)]
