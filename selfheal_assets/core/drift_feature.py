"""Judge whether one measured feature moved: the rules and their reasons. Never weighs it against other features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from selfheal_assets.core.drift_column import ComparedColumn
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import DriftSpec

MISSING_SHARE_MOVE = 0.05
"""A change of the share of missing values below this is too small to matter, however significant."""
UNSEEN_SHARE = 0.01
"""From this share of a batch's rows on, categories that the reference does not have raise by themselves."""
NAMED_CATEGORIES = 10


class TwoSampleAnswer(Protocol):
    """What a two-sample test said. NaN: it has no answer."""

    @property
    def test(self) -> str: ...
    @property
    def statistic(self) -> float: ...
    @property
    def p_value(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """What was found about one feature. A number that could not be measured is None."""

    feature: str
    categorical: bool
    test: str
    statistic: float | None
    p_value: float | None
    adjusted_p: float | None
    """Benjamini-Hochberg over the tested features of the batch."""
    psi: float | None
    missing_reference: float | None
    missing_batch: float | None
    missing_p: float | None
    """p-value of equal missing shares, adjusted over the features likewise."""
    unseen: tuple[str, ...]
    """At most ten categories that the reference does not have, the most frequent first."""
    importance: float | None
    weighted_out: bool
    """Tested and shown, but of too small an importance to raise the batch."""
    status: Status
    reason: str


def judge_feature(
    spec: DriftSpec, column: ComparedColumn, answer: TwoSampleAnswer | None, *, adjusted_p: float, missing_p: float
) -> FeatureDrift:
    """The verdict on one feature; NaN in `adjusted_p` or `missing_p` is 'not known' and never leads to CLEAR."""
    measured = column.enough(spec.min_rows)
    status, reason = _verdict(spec, column, adjusted_p, missing_p)
    importance = known(column.importance)
    return FeatureDrift(
        feature=column.feature,
        categorical=column.categorical,
        test=answer.test if answer else "none",
        statistic=known(answer.statistic) if answer else None,
        p_value=known(answer.p_value) if answer else None,
        adjusted_p=known(adjusted_p),
        psi=known(column.psi) if measured else None,
        missing_reference=known(column.missing_reference),
        missing_batch=known(column.missing_batch),
        missing_p=known(missing_p),
        unseen=tuple(category for category, _ in column.unseen[:NAMED_CATEGORIES]),
        importance=importance,
        weighted_out=importance is not None and importance < spec.min_importance_share,
        status=status,
        reason=reason,
    )


def known(value: float | None) -> float | None:
    """The value, or None for NaN."""
    return None if value is None or math.isnan(value) else float(value)


def _verdict(spec: DriftSpec, column: ComparedColumn, adjusted_p: float, missing_p: float) -> tuple[Status, str]:
    """The rules in order: rows, missing values, unseen categories, then the two-sample test with its effect size."""
    if min(len(column.reference), len(column.batch)) < spec.min_rows:
        return Status.UNKNOWN, f"too few rows: {_rows(column)}; {spec.min_rows} are needed on both sides"
    missing = _missing_verdict(spec, column, missing_p)
    if missing:
        return missing
    if not column.enough(spec.min_rows):
        return Status.UNKNOWN, f"too few complete values: {_complete(column)}; {spec.min_rows} are needed on both sides"
    unseen_share, unseen = _unseen(column)
    if unseen and unseen_share >= UNSEEN_SHARE:
        return Status.RAISED, f"{unseen} (allowed below {_share(UNSEEN_SHARE)})"
    if math.isnan(adjusted_p) or math.isnan(column.psi):
        return Status.UNKNOWN, f"the test gave no p-value for {_complete(column)}"
    status, reason = _moved(spec, column, adjusted_p)
    return status, f"{reason}; {unseen}" if unseen else reason


def _missing_verdict(spec: DriftSpec, column: ComparedColumn, missing_p: float) -> tuple[Status, str] | None:
    """What the missing values say by themselves, or None when they say nothing."""
    if not len(column.complete_batch):
        if not len(column.complete_reference):
            return Status.UNKNOWN, "every value is missing, in the reference and in the batch"
        before = _share(column.missing_reference)
        return Status.RAISED, f"every value of the batch is missing ({before} in the reference)"
    if math.isnan(missing_p):
        return Status.UNKNOWN, "the shares of missing values could not be compared"
    move = abs(column.missing_batch - column.missing_reference)
    if missing_p < spec.p_threshold and move >= MISSING_SHARE_MOVE:
        shares = f"from {_share(column.missing_reference)} to {_share(column.missing_batch)}"
        return Status.RAISED, f"the share of missing values moved {shares} (adjusted p {missing_p:.2g})"
    return None


def _unseen(column: ComparedColumn) -> tuple[float, str]:
    """Share of the batch's rows with a category that the reference does not have, and that in words ('' for none)."""
    if not column.unseen:
        return 0.0, ""
    share = sum(count for _, count in column.unseen) / len(column.batch)
    named = _quoted([category for category, _ in column.unseen])
    return share, f"{_share(share)} of the rows have a category that the reference does not: {named}"


def _moved(spec: DriftSpec, column: ComparedColumn, adjusted_p: float) -> tuple[Status, str]:
    figures = f"psi {column.psi:.3f} (threshold {spec.psi_threshold:g}), adjusted p {adjusted_p:.2g}"
    significant, large = adjusted_p < spec.p_threshold, column.psi >= spec.psi_threshold
    if significant and large:
        return Status.RAISED, f"moved: {figures}"
    if significant:
        return Status.CLEAR, f"a change too small to matter: {figures}"
    if large:
        return Status.CLEAR, f"a change that chance explains: {figures}"
    return Status.CLEAR, f"no change: {figures}"


def _rows(column: ComparedColumn) -> str:
    return f"{len(column.reference)} in the reference, {len(column.batch)} in the batch"


def _complete(column: ComparedColumn) -> str:
    return f"{len(column.complete_reference)} in the reference, {len(column.complete_batch)} in the batch"


def _share(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name if len(name) <= 40 else name[:39] + "…") for name in names[:NAMED_CATEGORIES])
    return shown if len(names) <= NAMED_CATEGORIES else f"{shown} and {len(names) - NAMED_CATEGORIES} more"
