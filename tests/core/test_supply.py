"""Whether data still comes, and enough of it."""

from datetime import UTC, datetime, timedelta

import pytest

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import QualitySpec
from selfheal_assets.core.supply import assess_freshness, assess_volume

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WATCHED = QualitySpec(min_batch_rows=100, volume_batches=3, max_age_hours=6.0)
VOLUMES = [
    # clean rows of the batches, oldest first; the status; the greatest of the last three
    ([], Status.UNKNOWN, None),
    ([5], Status.UNKNOWN, 5.0),
    ([5, 99], Status.UNKNOWN, 99.0),
    ([5, 99, 0], Status.RAISED, 99.0),
    ([100, 5, 5], Status.CLEAR, 100.0),
    ([900, 5, 5, 5], Status.RAISED, 5.0),
    ([5, 5, 5, 900], Status.CLEAR, 900.0),
    ([99, 99, 99], Status.RAISED, 99.0),
    ([99, 100, 99], Status.CLEAR, 100.0),
    ([0, 0, 0], Status.RAISED, 0.0),
]


@pytest.mark.parametrize(("rows", "status", "value"), VOLUMES, ids=[str(case[0]) for case in VOLUMES])
def test_volume(rows: list[int], status: Status, value: float | None) -> None:
    found = assess_volume(WATCHED, rows)
    assert found is not None
    assert (found.status, found.value, found.threshold) == (status, value, 100.0)
    assert found.reason.endswith("at least 100 are expected")


def test_volume_says_what_it_saw() -> None:
    for rows, words in (([5, 6], "2 batches, 3 are needed"), ([5, 6, 7], "the last 3 batches have at most 7 clean")):
        found = assess_volume(WATCHED, rows)
        assert found is not None
        assert words in found.reason


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(0), Status.CLEAR),
        (timedelta(hours=6), Status.CLEAR),
        (timedelta(hours=6, seconds=1), Status.RAISED),
        (timedelta(days=40), Status.RAISED),
        (timedelta(hours=-1), Status.CLEAR),
    ],
)
def test_freshness(age: timedelta, status: Status) -> None:
    found = assess_freshness(WATCHED, NOW - age, NOW)
    assert found is not None
    assert found.status is status
    assert found.value == pytest.approx(age.total_seconds() / 3600)
    assert found.threshold == 6.0


def test_freshness_says_the_same_at_every_look() -> None:
    """Else every tick would tell another story of the same silence."""
    landed = NOW - timedelta(hours=9)
    first, second = (assess_freshness(WATCHED, landed, NOW + later) for later in (timedelta(0), timedelta(hours=5)))
    assert first is not None
    assert second is not None
    assert first.reason == second.reason == "the newest batch landed at 2026-03-01 03:00 UTC; 6 hours are allowed"


def test_what_is_not_declared_is_not_watched() -> None:
    assert assess_volume(QualitySpec(), [0, 0, 0]) is None
    assert assess_freshness(QualitySpec(), NOW - timedelta(days=99), NOW) is None
    assert assess_freshness(WATCHED, None, NOW) is None, "nothing ever landed"
