"""Where a metric fell most: by hand on small slices, and what is left out."""

import numpy as np
import pytest

from selfheal_assets.core.slices import Scored, SliceDrop, slice_drops

GOOD, HALF, BAD = (0.1, 0.2, 0.8, 0.9), (0.1, 0.8, 0.2, 0.9), (0.9, 0.8, 0.2, 0.1)
"""Scores of the labels 0, 0, 1, 1: an AUC of 1, of 3/4, of 0."""
LABELS = (0.0, 0.0, 1.0, 1.0)


def scored(column: str = "country", **levels: tuple[float, ...]) -> Scored:
    """Four rows a level."""
    names = np.array([name for name in levels for _ in LABELS], dtype=object)
    score = np.array([value for scores in levels.values() for value in scores])
    return Scored(label=np.tile(LABELS, len(levels)), score=score, slices={column: names})


def test_the_levels_that_fell_come_the_furthest_first() -> None:
    before = scored(BR=GOOD, DE=GOOD, FR=GOOD, US=HALF)
    after = scored(BR=HALF, DE=BAD, FR=GOOD, US=GOOD)
    assert slice_drops("roc_auc", before, after, min_rows=4) == (
        SliceDrop(slice="country=DE", before=1.0, value=0.0, drop=1.0, rows=4),
        SliceDrop(slice="country=BR", before=1.0, value=0.75, drop=0.25, rows=4),
    )


def test_equal_drops_are_told_apart_by_name_and_at_most_so_many_are_named() -> None:
    names = [f"c{number}" for number in range(7)]
    before, after = (scored("country", **dict.fromkeys(names[::-1], scores)) for scores in (GOOD, BAD))
    assert [one.slice for one in slice_drops("roc_auc", before, after, min_rows=1)] == [
        f"country={n}" for n in names[:5]
    ]
    assert len(slice_drops("roc_auc", before, after, min_rows=1, most=2)) == 2


def test_of_a_loss_more_is_worse() -> None:
    before, after = scored(BR=GOOD, US=BAD), scored(BR=BAD, US=GOOD)
    (fallen,) = slice_drops("log_loss", before, after, min_rows=4)
    assert fallen.slice == "country=BR"
    assert fallen.drop == pytest.approx(fallen.value - fallen.before)
    assert fallen.drop > 0


def test_a_level_that_cannot_be_judged_on_both_sides_is_left_out() -> None:
    before = scored(BR=GOOD, US=GOOD)
    assert slice_drops("roc_auc", before, scored(NEW=BAD), min_rows=1) == ()
    assert slice_drops("roc_auc", before, scored(BR=BAD), min_rows=5) == ()
    one_class = Scored(label=np.zeros(4), score=np.array(BAD), slices={"country": np.array(["BR"] * 4, dtype=object)})
    assert slice_drops("roc_auc", before, one_class, min_rows=1) == ()


def test_rows_without_label_score_or_level_do_not_count() -> None:
    before = scored(BR=GOOD)
    after = Scored(
        label=np.array([*LABELS, np.nan, 1.0, 1.0]),
        score=np.array([*HALF, 0.0, np.nan, 0.0]),
        slices={"country": np.array(["BR"] * 6 + [None], dtype=object)},
    )
    (found,) = slice_drops("roc_auc", before, after, min_rows=4)
    assert (found.value, found.drop) == (0.75, 0.25)
    assert slice_drops("roc_auc", before, after, min_rows=5) == ()


def test_every_declared_slice_is_looked_at() -> None:
    def both(scores: tuple[float, ...]) -> Scored:
        levels = {"country": ["BR"] * 4, "device": ["web", "app"] * 2}
        return Scored(
            label=np.array(LABELS),
            score=np.array(scores),
            slices={name: np.array(values, dtype=object) for name, values in levels.items()},
        )

    found = slice_drops("roc_auc", both(GOOD), both(BAD), min_rows=1)
    assert [one.slice for one in found] == ["country=BR", "device=app", "device=web"]
    assert [one.rows for one in found] == [4, 2, 2]
    none = Scored(label=np.array(LABELS), score=np.array(BAD), slices={})
    assert slice_drops("roc_auc", both(GOOD), none, min_rows=1) == ()
