"""Judge a challenger against the champion on the same rows: scores to a verdict. Never takes luck for proof."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.bootstrap import metric_difference
from selfheal_assets.core.statistics.delong import MIN_CLASS_ROWS, auc_difference
from selfheal_assets.core.statistics.metrics import (
    Estimate,
    as_floats,
    higher_is_better,
    metric,
)


def not_worse_than_champion(
    name: MetricName,
    label: npt.ArrayLike,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike | None,
    *,
    margin: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> GateResult:
    """Non-inferiority of the challenger's scores (n,) to the champion's on the same labelled rows (n,).

    `value` is challenger less champion, turned so that higher is better. PASS when the whole interval lies above
    -margin, FAIL when it lies wholly below, else INCONCLUSIVE, however good the point estimate. Without a champion
    (None) PASS, if the challenger's own metric is defined. DeLong's interval for roc_auc, a paired bootstrap else.
    """
    gate, own = "not_worse_than_champion", metric(name, label, challenger)
    if np.isnan(own):
        return GateResult(gate, Verdict.INCONCLUSIVE, None, -margin, None, f"{name} of the challenger is not defined.")
    if champion is None:
        return GateResult(gate, Verdict.PASS, None, -margin, None, "first model: there is no champion to compare with.")
    if np.isnan(metric(name, label, champion)):
        return GateResult(gate, Verdict.INCONCLUSIVE, None, -margin, None, f"{name} of the champion is not defined.")
    value, low, high = advantage(name, label, challenger, champion, confidence, seed)
    if np.isnan([low, high, margin]).any():
        reason = f"No interval of the difference: fewer than {MIN_CLASS_ROWS} rows of a class, or no margin."
        return GateResult(gate, Verdict.INCONCLUSIVE, value, -margin, None, reason)
    verdict = Verdict.PASS if low > -margin else Verdict.FAIL if high < -margin else Verdict.INCONCLUSIVE
    reason = (
        f"{name} {own:.4f}; against the champion, higher being better, {value:+.4f} "
        f"({confidence:.0%} interval {low:+.4f} to {high:+.4f}); required wholly above {-margin:+.4f}."
    )
    return GateResult(gate, verdict, value, -margin, (low, high), reason)


def no_slice_collapses(
    name: MetricName,
    label: npt.ArrayLike,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike | None,
    slices: Mapping[str, npt.ArrayLike],
    *,
    max_drop: float,
    min_rows: int,
) -> GateResult:
    """In no level of a sliced feature (name -> (n,) values) is the metric more than `max_drop` worse than expected.

    Expected is the champion's metric on the level's rows or, without a champion, the challenger's own over all rows.
    `value` is the worst level's difference, higher is better, by its point estimate. Levels with fewer than `min_rows`
    rows or one class are named and not judged; with none judged INCONCLUSIVE, with no slices declared PASS.
    It misleads with many small levels, one of which falls low by chance, and for average_precision without a champion,
    where levels differ in their share of 1s.
    """
    gate, own = "no_slice_collapses", metric(name, label, challenger)
    reference = own if champion is None else metric(name, label, champion)
    if np.isnan([own, reference, max_drop]).any():
        return GateResult(gate, Verdict.INCONCLUSIVE, None, -max_drop, None, f"{name} is not defined on these rows.")
    if not slices:
        return GateResult(gate, Verdict.PASS, None, -max_drop, None, "No slices are declared.")
    truth, scores = as_floats("label", label), np.asarray(challenger)
    sign, judged, skipped = 1.0 if higher_is_better(name) else -1.0, dict[str, float](), list[str]()
    for level, rows in _levels(slices, len(truth)):
        value = metric(name, truth[rows], scores[rows]) if rows.sum() >= min_rows else float("nan")
        if np.isnan(value):
            skipped.append(f"{level} ({int(rows.sum())} rows)")
            continue
        expected = own if champion is None else metric(name, truth[rows], np.asarray(champion)[rows])
        judged[level] = sign * (value - expected)
    return _slices_result(gate, name, judged, skipped, max_drop)


def _slices_result(
    gate: str, name: MetricName, judged: Mapping[str, float], skipped: list[str], max_drop: float
) -> GateResult:
    left_out = f" Not judged, too few rows or one class: {', '.join(skipped)}." if skipped else ""
    if not judged:
        return GateResult(gate, Verdict.INCONCLUSIVE, None, -max_drop, None, f"No level could be judged.{left_out}")
    worst = min(judged, key=lambda level: judged[level])
    collapsed = [f"{level} ({value:+.4f})" for level, value in judged.items() if value < -max_drop]
    found = f"collapsed: {', '.join(collapsed)}" if collapsed else f"worst {worst} ({judged[worst]:+.4f})"
    reason = (
        f"{name} of {len(judged)} levels against the expected, {found}; required at least {-max_drop:+.4f}.{left_out}"
    )
    return GateResult(gate, Verdict.FAIL if collapsed else Verdict.PASS, judged[worst], -max_drop, None, reason)


def advantage(
    name: MetricName,
    label: npt.ArrayLike,
    challenger: npt.ArrayLike,
    champion: npt.ArrayLike,
    confidence: float,
    seed: int,
) -> Estimate:
    """Challenger less champion on the same rows, with its interval, turned so that higher is better."""
    if name == "roc_auc":
        return auc_difference(label, challenger, champion, confidence)
    found = metric_difference(name, label, challenger, champion, confidence, seed=seed)
    return found if higher_is_better(name) else Estimate(-found.value, -found.high, -found.low)


def _levels(slices: Mapping[str, npt.ArrayLike], rows: int) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Every feature=level with the mask (n,) of its rows; a missing value is a level, spelt as text."""
    for feature, values in slices.items():
        spelt = np.array([str(value) for value in np.asarray(values, dtype=object)], dtype=object)
        if len(spelt) != rows:
            raise SelfhealError(
                f"slice {feature} must have one value a row; received {len(spelt)} for {rows} rows. Slice the holdout."
            )
        for level in sorted(set(spelt)):
            yield f"{feature}={level}", spelt == level
