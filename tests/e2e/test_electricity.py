"""The electricity example on the real public stream, around the weeks in which Victoria joined the market."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ROOT.parent / "shared" / "data" / "elec2.csv"
FIRST_WEEK, WEEKS, BACKLOG = 43, 19, 12
"""From before the change of the market, in week 52, until well after it."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not PUBLIC.is_file(), reason=f"the public Elec2 data is not at {PUBLIC}: see examples/electricity"
    ),
]


@pytest.fixture(scope="module")
def stream() -> ModuleType:
    found = importlib.util.spec_from_file_location("electricity_stream", ROOT / "benchmarks" / "electricity_stream.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Dataclasses look their module up.
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def played(stream: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    before = dict(os.environ)
    with stream.overlay():
        weeks = stream.weekly_batches(PUBLIC, FIRST_WEEK + WEEKS)[FIRST_WEEK:]
        *_, last = stream.play(weeks, tmp_path_factory.mktemp("electricity"), backlog=BACKLOG)
        yield last
    os.environ.clear()
    os.environ.update(before)


def test_every_row_is_clean_and_none_is_lost(played: Any) -> None:
    from selfheal_assets.operations.story import batches

    landed = batches(played.services, played.spec)
    assert len(landed) == WEEKS
    assert {batch.verdict for batch in landed} == {"CLEAN"}
    assert sum(batch.rows_landed for batch in landed) == sum(batch.rows_clean for batch in landed) == WEEKS * 336
    assert played.services.batches.landed("electricity") == []


def test_the_weeks_went_through_the_real_stages(played: Any) -> None:
    from selfheal_assets.core.evidence import Evidence, Signal, Status
    from selfheal_assets.core.record import RecordKind

    records = played.services.ledger.newest("electricity", RecordKind.EVIDENCE, limit=10_000)
    evidence = [Evidence.from_record(record) for record in records]
    measured = {signal: {e.batch_id for e in evidence if e.signal is signal} for signal in Signal}
    judged = {played.batch_ids[week] for week in played.judged()}
    about_a_champion = (Signal.DRIFT, Signal.SCORE_DRIFT, Signal.PERFORMANCE, Signal.ESTIMATED_PERFORMANCE)
    for signal in (*about_a_champion, Signal.PRIOR, Signal.RISK):
        assert measured[signal] == judged, signal
    assert measured[Signal.QUALITY] == set(played.batch_ids)
    assert measured[Signal.RELEASE] < judged, "only the first weeks of a champion that had one before it"
    # Victoria's columns were constant in the reference: that they begin to move is drift, not bad data.
    assert Status.RAISED in {e.status for e in evidence if e.signal is Signal.DRIFT}
    assert {"checked_batch", "features", "observed_batch", "tuned_parameters", "champion_model"} <= set(played.seconds)


def test_the_loop_heals_and_is_not_worse_than_leaving_the_champion_alone(stream: ModuleType, played: Any) -> None:
    from selfheal_assets.operations.story import champions

    outcomes = {outcome.name: outcome for outcome in stream.compare(played)}
    never, loop = outcomes["never retrain"], outcomes["selfheal"]
    assert len(champions(played.services, played.spec)) >= 2
    assert 1 <= loop.retrains <= outcomes["retrain every week"].retrains / 2
    assert len(loop.auc) == len(never.auc) == WEEKS - BACKLOG
    assert sum(loop.auc) / len(loop.auc) >= sum(never.auc) / len(never.auc) - 0.005
