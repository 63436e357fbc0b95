"""When the scores of the last minutes are not the champion's own, and when nothing can be said of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from given import SPEC
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.rollout_look import BUCKETS, bucketed
from selfheal_assets.core.served_counts import Served
from selfheal_assets.core.served_scores import Lately, assess_served_scores
from selfheal_assets.core.serving_health import Assessment

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN


def drawn(rows: int, a: float = 1.0, b: float = 8.0, seed: int = 1) -> tuple[int, ...]:
    """Scores like those of a rare label; a larger `a` is another population."""
    return bucketed(np.random.default_rng(seed).beta(a, b, rows))


OWN = drawn(1_250)
SAME, MOVED = drawn(4_000, seed=2), drawn(4_000, a=3.0, seed=3)


def assessed(
    last: Sequence[int],
    before: Sequence[int],
    reference: Sequence[int] | None = OWN,
    *,
    fallen_back: int = 0,
    **how: Any,
) -> Assessment:
    told = [Served(scores=tuple(one), rows=sum(one), fallen_back=fallen_back) for one in (last, before)]
    served = Lately(last=told[0], before=told[1], whole=how.pop("whole", True))
    spec = replace(SPEC, serving=replace(SPEC.serving, **how.pop("declared", {})))
    return assess_served_scores(spec, reference, served, how.pop("store", CLEAR), how.pop("said", None))


THIN, THINNER = drawn(999), drawn(499)
ROWS: list[tuple[str, dict[str, Any], Status]] = [
    ("the same population", {"last": SAME, "before": SAME}, CLEAR),
    ("another one, in both times", {"last": MOVED, "before": MOVED}, RAISED),
    ("it has just begun", {"last": MOVED, "before": SAME}, UNKNOWN),
    ("it has just ended", {"last": SAME, "before": MOVED}, UNKNOWN),
    ("nobody asks", {"last": (0,) * BUCKETS, "before": (0,) * BUCKETS}, UNKNOWN),
    ("too few of late", {"last": THIN, "before": SAME}, UNKNOWN),
    ("too few before", {"last": MOVED, "before": THIN}, UNKNOWN),
    ("as thin as that, once something was said", {"last": THIN, "before": THIN, "said": CLEAR}, CLEAR),
    ("... in doubt it was not", {"last": THIN, "before": THIN, "said": UNKNOWN}, UNKNOWN),
    ("half as many at least", {"last": THINNER, "before": THIN, "said": RAISED}, UNKNOWN),
    ("as many as are declared", {"last": THIN, "before": THIN, "declared": {"min_scores": 999}}, CLEAR),
    ("no reference", {"last": MOVED, "before": MOVED, "reference": None}, UNKNOWN),
    ("hardly a reference", {"last": MOVED, "before": MOVED, "reference": drawn(199)}, UNKNOWN),
    ("one of other buckets", {"last": MOVED, "before": MOVED, "reference": (1_000,) * 10}, UNKNOWN),
    ("features were away", {"last": MOVED, "before": MOVED, "fallen_back": 81}, UNKNOWN),
    ("... and for few rows only", {"last": MOVED, "before": MOVED, "fallen_back": 80}, RAISED),
    ("the store is away", {"last": MOVED, "before": MOVED, "store": RAISED}, UNKNOWN),
    ("nothing is known of the store", {"last": MOVED, "before": MOVED, "store": UNKNOWN}, RAISED),
    ("nobody looked for so long", {"last": MOVED, "before": MOVED, "whole": False}, UNKNOWN),
    ("a wider limit", {"last": MOVED, "before": MOVED, "declared": {"max_score_psi": 5.0}}, CLEAR),
    ("a closer one", {"last": SAME, "before": SAME, "declared": {"max_score_psi": 1e-9}}, RAISED),
]


@pytest.mark.parametrize(("told", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_is_said(told: dict[str, Any], expected: Status) -> None:
    found = assessed(**told)
    assert found.status is expected
    assert found.reason


def test_it_says_how_far_and_of_what() -> None:
    found = assessed(MOVED, MOVED)
    assert found.value is not None
    assert found.value > 0.5 == found.threshold
    assert found.sample_size == 4_000
    assert found.details == {"scores": list(MOVED), "reference": list(OWN)}
    assert f"PSI {found.value:.2f} of the last 5 minutes' 4000 scores" in found.reason
    assert assessed(THIN, SAME).value is None
    assert "had no live features" in assessed(MOVED, MOVED, store=RAISED).reason


def test_chance_alone_hardly_ever_raises_it() -> None:
    """1,000 scores a time, the smallest holdout: far below the limit in each of 500 times."""
    values = [
        assessed(drawn(1_000, seed=n), drawn(1_000, seed=n), drawn(200, seed=9_000 + n)).value for n in range(500)
    ]
    assert max(value for value in values if value is not None) < 0.5
    assert len(values) == 500


histograms = st.lists(st.integers(0, 3_000), min_size=BUCKETS, max_size=BUCKETS)


@given(histograms, histograms, histograms, st.sampled_from(Status), st.sampled_from([None, *Status]), st.booleans())
def test_doubt_is_never_clear_and_a_fault_that_explains_it_never_raised(
    last: list[int], before: list[int], reference: list[int], store: Status, said: Status | None, whole: bool
) -> None:
    found = assessed(last, before, reference, store=store, said=said, whole=whole)
    if found.status is not UNKNOWN:
        assert found.value is not None
        assert np.isfinite(found.value)
        assert (found.value > SPEC.serving.max_score_psi) is (found.status is RAISED)
        assert whole
        assert store is not RAISED
        assert min(sum(last), sum(before)) >= SPEC.serving.min_scores / 2
        assert sum(reference) >= SPEC.drift.min_rows
    assert assessed(last, before, last, store=store, said=said, whole=whole).value in (None, 0.0)
    other = assessed(before, last, reference, store=store, said=said, whole=whole)
    assert other.status is found.status, "either time counts alike"
