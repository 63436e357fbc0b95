"""Every gate by its table of cases, and the rule over all of them: doubt never passes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.gate_comparison import no_slice_collapses, not_worse_than_champion
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
from selfheal_assets.core.statistics.metrics import metric

NAMES = ("roc_auc", "average_precision", "log_loss")
PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def drawn(seed=0, rows=600, lift=2.0):
    """Labels and calibrated scores of a model as good as `lift`."""
    rng = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-lift * rng.normal(size=rows)))
    return (rng.random(rows) < score).astype(float), score


LABEL, SCORE = drawn()
NOISE = np.random.default_rng(1).permutation(SCORE)
SLICES = {"country": np.where(np.arange(600) % 3 == 0, "NO", "SE")}


def result(verdict):
    return GateResult("some_gate", verdict, None, None, None, "for the test")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], INCONCLUSIVE),
        ([PASS], PASS),
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, FAIL, PASS], FAIL),
    ],
)
def test_overall(verdicts, expected):
    assert overall([result(verdict) for verdict in verdicts]) is expected


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=8), st.sampled_from(Verdict))
def test_another_gate_never_improves_the_whole(verdicts, another):
    order = [FAIL, INCONCLUSIVE, PASS]
    before, after = overall(list(map(result, verdicts))), overall(list(map(result, [*verdicts, another])))
    assert order.index(after) <= order.index(before)


@pytest.mark.parametrize("name", NAMES)
def test_metric_floor_is_met_on_the_edge_and_missed_beyond(name):
    value = metric(name, LABEL, SCORE)
    worse = -1e-9 if name == "log_loss" else 1e-9
    assert metric_floor(name, LABEL, SCORE, floor=value, min_rows=600).verdict is PASS
    missed = metric_floor(name, LABEL, SCORE, floor=value + worse, min_rows=600)
    assert (missed.verdict, missed.value, missed.threshold) == (FAIL, value, value + worse)
    assert metric_floor(name, LABEL, SCORE, floor=value, min_rows=601).verdict is INCONCLUSIVE
    assert metric_floor(name, LABEL, SCORE, floor=math.nan, min_rows=1).verdict is INCONCLUSIVE
    assert metric_floor(name, spoilt(LABEL, 1, every=1), SCORE, floor=value, min_rows=1).verdict is INCONCLUSIVE


def spoilt(values, value, every=200):
    broken = np.array(values, dtype=float)
    broken[::every] = value
    return broken


@pytest.mark.parametrize(
    ("score", "limit", "expected"),
    [(SCORE, 0.1, PASS), (SCORE**3, 0.1, FAIL), (SCORE * 2, 0.1, INCONCLUSIVE), (SCORE, math.nan, INCONCLUSIVE)],
)
def test_calibration(score, limit, expected):
    assert calibration(LABEL, score, max_error=limit, min_rows=100).verdict is expected


def test_calibration_of_too_few_rows_is_not_judged():
    assert calibration(LABEL[:99], SCORE[:99], max_error=0.9, min_rows=100).verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1.0] * 200, PASS),
        ([1.0] * 199 + [900.0], PASS),
        ([1.0] * 195 + [900.0] * 5, FAIL),
        ([1.0, 1.0, 900.0], FAIL),
        ([50.0], PASS),
        ([50.0001], FAIL),
        ([], INCONCLUSIVE),
        ([1.0, math.nan], INCONCLUSIVE),
        ([1.0, math.inf], INCONCLUSIVE),
        ([1.0, -1.0], INCONCLUSIVE),
    ],
)
def test_latency(times, expected):
    assert latency(times, max_ms=50.0).verdict is expected


@pytest.mark.parametrize(
    ("reloaded", "expected"),
    [
        (SCORE, PASS),
        (SCORE + 9e-7, PASS),
        (spoilt(SCORE, 2.0, every=599), FAIL),
        (SCORE[:-1], FAIL),
        (spoilt(SCORE, math.nan), INCONCLUSIVE),
    ],
)
def test_reload_agrees(reloaded, expected):
    assert reload_agrees(SCORE, reloaded).verdict is expected


def test_reload_of_nothing_agrees_with_nothing():
    assert reload_agrees([], []).verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("training", "others", "expected"),
    [
        (["a", "b"], ["c"], PASS),
        (["a", "b"], ["b", "c"], FAIL),
        ([1, 2], ["2"], FAIL),
        (np.array([1, 2]), [2], FAIL),
        ([], ["c"], INCONCLUSIVE),
        (["a", None], ["c"], INCONCLUSIVE),
        (["a", math.nan], ["c"], INCONCLUSIVE),
        (["a"], ["c", None], INCONCLUSIVE),
    ],
)
def test_ids_that_must_not_meet(training, others, expected):
    assert no_quarantined_batches(training, others).verdict is expected
    assert disjoint_holdout(training, others).verdict is expected


def test_nothing_quarantined_passes_but_an_empty_holdout_is_not_judged():
    assert no_quarantined_batches(["a"], []).verdict is PASS
    assert disjoint_holdout(iter(["a"]), iter([])).verdict is INCONCLUSIVE


def test_the_reason_names_the_ids_that_met():
    found = no_quarantined_batches(iter(["b7", "b8", "b9"]), iter(["b8", "b9"]))
    assert (found.value, found.threshold) == (2.0, 0.0)
    assert "b8, b9" in found.reason


@pytest.mark.parametrize("name", NAMES)
def test_champion_comparison_in_each_direction(name):
    better = not_worse_than_champion(name, LABEL, SCORE, NOISE, margin=0.01)
    worse = not_worse_than_champion(name, LABEL, NOISE, SCORE, margin=0.01)
    assert (better.verdict, worse.verdict) == (PASS, FAIL)
    assert better.value > 0 > worse.value
    assert better.interval[0] <= better.value <= better.interval[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_not_worse_than_itself_if_there_is_a_margin(name):
    assert not_worse_than_champion(name, LABEL, SCORE, SCORE, margin=0.01).verdict is PASS
    assert not_worse_than_champion(name, LABEL, SCORE, SCORE, margin=0.0).verdict is INCONCLUSIVE


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_interval_decides_not_the_point_estimate(name):
    close = 0.9 * SCORE + 0.1 * NOISE

    def verdict(margin):
        return not_worse_than_champion(name, LABEL, close, SCORE, margin=margin).verdict

    low, high = not_worse_than_champion(name, LABEL, close, SCORE, margin=0.0).interval
    assert [verdict(-low + 1e-9), verdict(-low - 1e-9)] == [PASS, INCONCLUSIVE]
    assert [verdict(-high + 1e-9), verdict(-high - 1e-9)] == [INCONCLUSIVE, FAIL]


def test_a_worse_point_estimate_within_doubt_is_inconclusive():
    label, score = LABEL[:80], SCORE[:80]
    champion = np.clip(score + 0.15 * (label - 0.5) + 0.2 * (NOISE[:80] - 0.5), 0, 1)
    found = not_worse_than_champion("roc_auc", label, score, champion, margin=0.03)
    assert found.value < -0.03 < found.interval[1]
    assert found.verdict is INCONCLUSIVE


@pytest.mark.parametrize("name", NAMES)
def test_first_model_passes_unless_it_cannot_be_measured(name):
    found = not_worse_than_champion(name, LABEL, SCORE, None, margin=0.01)
    assert (found.verdict, found.value) == (PASS, None)
    assert "first model" in found.reason
    assert not_worse_than_champion(name, LABEL, spoilt(SCORE, math.nan), None, margin=0.01).verdict is INCONCLUSIVE


def test_too_few_rows_of_a_class_are_inconclusive():
    label = np.r_[np.ones(9), np.zeros(591)]
    found = not_worse_than_champion("roc_auc", label, label * 0.9, label * 0.8, margin=0.5)
    assert (found.verdict, found.interval) == (INCONCLUSIVE, None)


@given(st.sampled_from(["roc_auc", "log_loss"]), st.integers(0, 500), st.floats(0.05, 0.95))
@settings(max_examples=25, deadline=None)
def test_two_models_are_never_each_worse_than_the_other(name, seed, mix):
    label, score = drawn(seed, rows=80)
    other = mix * score + (1 - mix) * drawn(seed + 1, rows=80)[1]
    forth = not_worse_than_champion(name, label, score, other, margin=0.01)
    back = not_worse_than_champion(name, label, other, score, margin=0.01)
    assert forth.value == pytest.approx(-back.value)
    assert (forth.verdict, back.verdict) != (FAIL, FAIL)
    if forth.verdict is FAIL:
        assert back.verdict is PASS


@pytest.mark.parametrize("champion", [None, SCORE])
@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
def test_a_collapsed_slice_fails_and_is_named(name, champion):
    challenger = np.where(SLICES["country"] == "NO", 1 - SCORE, SCORE)
    # Without a champion a slice is held to the whole, which the collapse itself has lowered.
    found = no_slice_collapses(name, LABEL, challenger, champion, SLICES, max_drop=0.1, min_rows=100)
    assert found.verdict is FAIL
    assert "collapsed: country=NO" in found.reason
    assert found.value < -0.1


@pytest.mark.parametrize("champion", [None, SCORE])
@pytest.mark.parametrize("name", NAMES)
def test_sound_slices_pass(name, champion):
    assert no_slice_collapses(name, LABEL, SCORE, champion, SLICES, max_drop=0.1, min_rows=100).verdict is PASS


def test_small_and_one_class_slices_are_named_and_not_judged():
    level = np.where(np.arange(600) < 5, "tiny", "main").astype(object)
    level[np.flatnonzero(LABEL == 1)[-120:]] = "ones"
    found = no_slice_collapses("roc_auc", LABEL, SCORE, SCORE, {"kind": level}, max_drop=0.1, min_rows=100)
    assert found.verdict is PASS
    assert "kind=ones (120 rows), kind=tiny (5 rows)" in found.reason
    alone = no_slice_collapses("roc_auc", LABEL, SCORE, SCORE, {"kind": level}, max_drop=0.1, min_rows=700)
    assert alone.verdict is INCONCLUSIVE


def test_no_slices_declared_passes_and_missing_values_are_a_level():
    assert no_slice_collapses("roc_auc", LABEL, SCORE, SCORE, {}, max_drop=0.1, min_rows=100).verdict is PASS
    level = np.where(SLICES["country"] == "NO", None, "SE")
    challenger = np.where(SLICES["country"] == "NO", 1 - SCORE, SCORE)
    found = no_slice_collapses("roc_auc", LABEL, challenger, SCORE, {"country": level}, max_drop=0.1, min_rows=100)
    assert (found.verdict, "country=None" in found.reason) == (FAIL, True)


def test_a_slice_of_another_length_is_refused():
    with pytest.raises(SelfhealError, match="one value a row"):
        no_slice_collapses("roc_auc", LABEL, SCORE, None, {"country": ["NO"]}, max_drop=0.1, min_rows=1)


@given(st.sampled_from(NAMES), st.integers(0, 599), st.sampled_from([math.nan, math.inf]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_one_broken_number_anywhere_never_passes(name, row, broken, in_label):
    label, score = LABEL.copy(), SCORE.copy()
    (label if in_label else score)[row] = broken
    champion = SCORE if in_label else NOISE
    verdicts = [
        metric_floor(name, label, score, floor=-1.0 if name != "log_loss" else 99.0, min_rows=1),
        calibration(label, score, max_error=1.0, min_rows=1),
        not_worse_than_champion(name, label, score, champion, margin=1.0),
        not_worse_than_champion(name, label, score, None, margin=1.0),
        no_slice_collapses(name, label, score, champion, SLICES, max_drop=1.0, min_rows=1),
        no_slice_collapses(name, label, score, None, {}, max_drop=1.0, min_rows=1),
    ]
    if not in_label:
        verdicts += [
            not_worse_than_champion(name, label, SCORE, score, margin=1.0),
            no_slice_collapses(name, label, SCORE, score, SLICES, max_drop=1.0, min_rows=1),
            reload_agrees(score, score),
            latency(score, max_ms=1e9),
        ]
    assert {found.verdict for found in verdicts} == {INCONCLUSIVE}
    assert all(found.reason for found in verdicts)


def test_a_limit_that_is_no_number_never_passes():
    broken = math.nan
    verdicts = [
        metric_floor("roc_auc", LABEL, SCORE, floor=broken, min_rows=1),
        calibration(LABEL, SCORE, max_error=broken, min_rows=1),
        latency([1.0], max_ms=broken),
        reload_agrees(SCORE, SCORE, tolerance=broken),
        not_worse_than_champion("roc_auc", LABEL, SCORE, NOISE, margin=broken),
        no_slice_collapses("roc_auc", LABEL, SCORE, SCORE, SLICES, max_drop=broken, min_rows=1),
    ]
    assert {found.verdict for found in verdicts} == {INCONCLUSIVE}
