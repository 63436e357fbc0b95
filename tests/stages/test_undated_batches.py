"""Batches without a clean row: where they stand in time, so that their incident ends when good data come again."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from brain import Life, spec

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.incident import IncidentState
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import BatchStatus, settle

LANDED = datetime(2026, 6, 1, tzinfo=UTC)
"""Years after the events of the data that are replayed."""
REPLAYED = datetime(2019, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Replay(Life):
    """Old data that land now, batch after batch; the names say nothing of their order."""

    def __init__(self) -> None:
        super().__init__(spec())
        self.now = LANDED
        self.services = cast(Services, SimpleNamespace(ledger=self.ledger, clock=SimpleNamespace(now=lambda: self.now)))

    def lands(self, batch: str, status: BatchStatus, event: datetime | None, stated: datetime | None = None) -> None:
        """`event`: its first clean event; `stated`: the time that the file's own statistics begin at."""
        self.now += HOUR
        payload: dict[str, Any] = {"file_name": batch, "size_bytes": 1, "landed_at": self.now.isoformat()}
        self.ledger.append(
            Record(
                key=f"registered:{batch}", model="m", kind=RecordKind.BATCH_REGISTERED, subject=batch,
                status="REGISTERED", event_time=stated or self.now, recorded_at=self.now, payload=payload,
            )
        )  # fmt: skip
        settle(self.services, self.spec, batch, status, reasons=["because"], event_time=event, rows_landed=9)
        self.settle()


@pytest.mark.parametrize("stated", [None, datetime(2099, 1, 1, tzinfo=UTC)])
def test_an_unreadable_file_among_replayed_data_is_over_with_the_next_good_batch(stated: datetime | None) -> None:
    """Neither the time of landing, nor one that broken rows state, makes it the newest for ever."""
    life = Replay()
    life.lands("z", BatchStatus.CLEAN, REPLAYED)
    life.lands("a", BatchStatus.QUARANTINED, None, stated)
    assert life.state(Cause.BAD_DATA) is IncidentState.VERIFYING, "newer than the good one before it"
    life.lands("b", BatchStatus.CLEAN, REPLAYED + HOUR)
    assert life.state(Cause.BAD_DATA) is IncidentState.RESOLVED


def test_before_the_first_good_batch_it_is_told_and_ended_all_the_same() -> None:
    life = Replay()
    life.lands("a", BatchStatus.QUARANTINED, None)
    assert life.state(Cause.BAD_DATA) is IncidentState.VERIFYING
    life.lands("b", BatchStatus.CLEAN, REPLAYED)
    assert life.state(Cause.BAD_DATA) is IncidentState.RESOLVED


def test_a_broken_batch_that_states_an_earlier_time_keeps_it() -> None:
    life = Replay()
    life.lands("z", BatchStatus.CLEAN, REPLAYED)
    life.lands("a", BatchStatus.QUARANTINED, None, REPLAYED - HOUR)
    (incident,) = life.every(Cause.BAD_DATA)
    assert incident.batch_ids == ("a",), "it is told"
    assert incident.state is IncidentState.RESOLVED, "newer data are good"


def test_unreadable_files_do_not_stand_for_the_last_batches_of_a_replay() -> None:
    """What looks at the newest batches, such as the watch over their volume, sees the good ones that follow."""
    life = Replay()
    for number in range(3):
        life.lands(f"bad{number}", BatchStatus.QUARANTINED, None)
    for number in range(3):
        life.lands(f"good{number}", BatchStatus.CLEAN, REPLAYED + number * HOUR)
    last = life.ledger.recent_subjects("m", RecordKind.BATCH_SETTLED, statuses=["CLEAN", "QUARANTINED"], limit=3)
    assert {record.status for record in last} == {BatchStatus.CLEAN}
