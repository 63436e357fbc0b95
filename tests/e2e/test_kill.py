"""Processes killed at the worst moments, and started again: the end is the same as if nothing had happened."""

import json
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from no_settings import forget_settings

from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld
from selfheal_assets.wiring import QUIET

HERE = Path(__file__).parent
ROWS, SECONDS = 700, 120
PHASES = (
    [(0, "healthy"), (1, "healthy"), (2, "bad_rows"), (3, "truncated_file")],
    [(4, "harmful_shift"), (5, "harmful_shift"), (6, "unit_change")],
    [(7, "harmful_shift")],
)
"""Batches that land together; the first two phases end with a retraining, the last verifies the second."""
DEATHS = (
    ["file taken", "second raw batch written", "decided, not requested", "training set written", "study half done"],
    [
        "second clean batch written",
        "offline features written, not online",
        "evidence recorded, not closed",
        "diagnosed, not decided",
        "version registered, no alias",
        "champion moved, no reference",
        "ended, not verified",
    ],
    ["verified, not resolved"],
)
OTHER_DEATHS = (
    ["bad rows kept, not settled", "settled, not published", "judged, not promoted", "reference written, outcome not"],
    [
        "settled, not published",
        "previous moved, champion not",
        "reference written, outcome not",
        "outcome written, its step not ended",
    ],
    ["resolved"],
)
"""Where processes die in each phase. A retraining is tried three times, and so is an ingest before it is split up."""


@pytest.fixture(scope="module")
def forking() -> Iterator[ForkServerContext]:
    """Processes that have the heavy imports done when they begin."""
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        for name, value in {**QUIET, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore"}.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(HERE))
        killable = __import__("killable")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["killable", *killable.HEAVY])
        yield context
        sys.modules.pop("killable")


def land(home: Path, phase: int) -> None:
    list(simulate(PaymentsWorld(seed=3), PHASES[phase], ROWS, home / "landing" / "payments"))


def started(context: ForkServerContext, function: str, *arguments: Any) -> ForkServerProcess:
    process = context.Process(target=getattr(sys.modules["killable"], function), args=arguments)
    process.start()
    return process


def ended(process: ForkServerProcess) -> int | None:
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        pytest.fail(f"a process must settle or die within {SECONDS} s")
    return process.exitcode


def said(home: Path) -> str:
    return home.with_suffix(".log").read_text()[-4_000:]


def described(context: ForkServerContext, home: Path) -> dict[str, Any]:
    target = home.with_suffix(".json")
    assert ended(started(context, "describe", home, target)) == 0, said(home)
    state: dict[str, Any] = json.loads(target.read_text())
    return state


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("deaths", [DEATHS, OTHER_DEATHS], ids=["these", "others"])
def test_the_end_is_the_same_as_if_nothing_had_happened(
    forking: ForkServerContext, tmp_path: Path, deaths: Sequence[Sequence[str]]
) -> None:
    calm_home, killed_home = tmp_path / "calm", tmp_path / "killed"
    for phase, points in enumerate(deaths):
        land(calm_home, phase)
        calm = started(forking, "settle", calm_home, None)
        land(killed_home, phase)
        for point in points:
            process = started(forking, "settle", killed_home, point)
            code = ended(process)
            assert code == -signal.SIGKILL, f"the process should have died at {point!r}; {said(killed_home)}"
        assert ended(started(forking, "settle", killed_home, None)) == 0, said(killed_home)
        assert ended(calm) == 0, said(calm_home)
    calm_state, killed_state = described(forking, calm_home), described(forking, killed_home)
    metrics = calm_state.pop("metrics"), killed_state.pop("metrics")
    runs = calm_state.pop("mlflow_runs"), killed_state.pop("mlflow_runs")
    assert killed_state == calm_state
    assert metrics[1] == pytest.approx(metrics[0], abs=0.05)
    assert runs[0] == {"FINISHED": 2}
    assert runs[1].get("RUNNING", 0) == 0
    assert_what_should_have_happened(calm_state)


def assert_what_should_have_happened(state: dict[str, Any]) -> None:
    """So that two homes in which nothing happened are not the same."""
    statuses = [status for status, _ in state["batches"].values()]
    assert statuses == ["CLEAN", "CLEAN", "PARTIAL", "QUARANTINED", "CLEAN", "CLEAN", "QUARANTINED", "CLEAN"]
    assert all(
        rows["rows_landed"] == rows["rows_clean"] + rows["rows_quarantined"] for _, rows in state["batches"].values()
    )
    assert [(status, version) for _, status, version in state["outcomes"]] == [("PROMOTED", "1"), ("PROMOTED", "2")]
    assert state["aliases"] == {"champion": "2", "challenger": "2", "previous": "1"}
    assert list(state["versions"].values()) == [1, 1]
    assert set(state["evidence"].values()) == {1}
    assert (state["open"], state["landing"], state["unfinished_runs"]) == ([], [], 0)
    decided = [(cause, action) for cause, action, *_ in state["decisions"]]
    assert decided.count(("no_champion", "retrain")) == decided.count(("harmful_drift", "retrain")) == 1
    by_cause = {cause: (tried, states) for cause, _, tried, states in state["incidents"]}
    ((action, _, result, version),), states = by_cause["harmful_drift"]
    assert (action, result, version) == ("retrain", "verified", "2")
    assert states == ["OPEN", "DIAGNOSED", "HEALING", "VERIFYING", "RESOLVED"]
    broken = {batch for cause, batches, *_ in state["incidents"] if cause == "bad_data" for batch in batches}
    assert len(broken) == 3
