"""Judge whether the label's share moved, and its classes: counts and tests in, a status out. Never calls doubt CLEAR.

A prior shift is a moved P(label) under an unmoved P(features | label) (Saerens, Latinne & Decaestecker 2002, Neural
Computation 14:21): `prior` RAISED beside `conditional` CLEAR. Both look at labelled rows, which must not be a choice
of the batch: where 1s are labelled sooner than 0s, the share moves by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.statistics.multiplicity import benjamini_hochberg
from selfheal_assets.core.statistics.proportions import ShareDifference, newcombe_difference

REASONS_SHOWN = 3
_GRAVEST_FIRST = (Status.RAISED, Status.UNKNOWN, Status.CLEAR)


@dataclass(frozen=True, kw_only=True)
class PriorAssessment:
    """Whether the share of label 1 moved."""

    status: Status
    value: float | None
    """Share of the batch less that of the reference; None without rows on a side."""
    threshold: float
    """The least move that matters, in either direction."""
    interval: tuple[float, float] | None
    """Of the value, at confidence 1 - p_threshold."""
    share_reference: float | None
    share_batch: float | None
    rows: int
    """Labelled rows of the batch."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class ConditionalComparison:
    """One feature compared between the rows of one label in reference and batch. NaN or None: not measured."""

    feature: str
    label: Literal[0, 1]
    p_value: float | None
    """Of a two-sample test, not adjusted."""
    psi: float | None
    reference_rows: int
    """Rows with this label, and a value, that were compared."""
    batch_rows: int


@dataclass(frozen=True, kw_only=True)
class ConditionalFeature:
    """The verdict on one comparison."""

    feature: str
    label: Literal[0, 1]
    status: Status
    adjusted_p: float | None
    """Benjamini-Hochberg over all the comparisons that could be made."""
    psi: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ConditionalAssessment:
    """Whether the features moved within a class."""

    status: Status
    value: float | None
    """The largest PSI of a comparison that could be judged; None when none could."""
    threshold: float
    """The PSI from which a significant change matters."""
    interval: None
    """PSI has none."""
    features: tuple[ConditionalFeature, ...]
    """The gravest status first, then by PSI."""
    reason: str


def assess_prior(
    reference_ones: int,
    reference_rows: int,
    batch_ones: int,
    batch_rows: int,
    *,
    p_threshold: float,
    min_move: float,
    min_rows: int,
) -> PriorAssessment:
    """Compare the shares of label 1 by Newcombe's interval of their difference, at confidence 1 - `p_threshold`.

    RAISED: the move is at least `min_move` and the interval leaves out 0. CLEAR: the move is smaller. UNKNOWN: a move
    as large that chance explains, or fewer than `min_rows` labelled rows on a side. A class that vanished is a move.
    Raises SelfhealError for impossible counts, a `p_threshold` outside (0, 1) or a `min_move` below 0.
    """
    if not min_move >= 0.0:
        raise SelfhealError(f"min_move must be at least 0; received {min_move}. Give a share, for example 0.05.")
    found = newcombe_difference(reference_ones, reference_rows, batch_ones, batch_rows, p_threshold)
    few = min(reference_rows, batch_rows) < max(min_rows, 1)
    counts = (
        f"{reference_rows} labelled rows in the reference, {batch_rows} in the batch; {min_rows} of each are needed"
    )
    status, reason = (
        (Status.UNKNOWN, f"too few rows: {counts}") if few else _prior_verdict(found, min_move, p_threshold)
    )
    known = reference_rows > 0 and batch_rows > 0
    return PriorAssessment(
        status=status,
        value=found.value if known else None,
        threshold=min_move,
        interval=(found.low, found.high) if known else None,
        share_reference=reference_ones / reference_rows if reference_rows else None,
        share_batch=batch_ones / batch_rows if batch_rows else None,
        rows=batch_rows,
        reason=reason,
    )


def _prior_verdict(found: ShareDifference, min_move: float, p_threshold: float) -> tuple[Status, str]:
    figures = (
        f"the share of label 1 moved by {found.value:+.4f} ({1.0 - p_threshold:.4g} interval {found.low:+.4f} to "
        f"{found.high:+.4f}; a move of {min_move:g} matters)"
    )
    significant = found.low > 0.0 or found.high < 0.0
    if abs(found.value) < min_move:
        return Status.CLEAR, f"{figures}: {'too little to matter' if significant else 'no change'}"
    if significant:
        return Status.RAISED, figures
    return Status.UNKNOWN, f"{figures}: chance explains it, and a move that matters is not ruled out"


def assess_conditional(
    comparisons: Sequence[ConditionalComparison], *, p_threshold: float, psi_threshold: float, min_rows: int
) -> ConditionalAssessment:
    """Judge every feature within every class; p-values are adjusted over all of them (Benjamini-Hochberg).

    RAISED when a comparison is: adjusted p below `p_threshold` and PSI at least `psi_threshold`. Else UNKNOWN when a
    comparison is (fewer than `min_rows` rows on a side, or nothing measured), a class was compared for fewer features
    than the other, or there is none. Else CLEAR. Pass the features that count: any doubt about one is a doubt about
    all. The order does not matter. Raises SelfhealError for a p-value outside [0, 1].
    """
    enough = [min(one.reference_rows, one.batch_rows) >= max(min_rows, 1) for one in comparisons]
    raw = [one.p_value if rows else None for one, rows in zip(comparisons, enough, strict=True)]
    adjusted = benjamini_hochberg([math.nan if p is None else p for p in raw])
    features = tuple(
        _judged(one, float(p), p_threshold=p_threshold, psi_threshold=psi_threshold, min_rows=min_rows)
        for one, p in zip(comparisons, adjusted, strict=True)
    )
    features = tuple(sorted(features, key=_gravest_first))
    status, reason = _overall(features)
    return ConditionalAssessment(
        status=status,
        value=max((one.psi for one in features if one.psi is not None), default=None),
        threshold=psi_threshold,
        interval=None,
        features=features,
        reason=reason,
    )


def _judged(
    one: ConditionalComparison, adjusted_p: float, *, p_threshold: float, psi_threshold: float, min_rows: int
) -> ConditionalFeature:
    psi = math.nan if one.psi is None else float(one.psi)
    status = Status.CLEAR
    if min(one.reference_rows, one.batch_rows) < max(min_rows, 1):
        status, psi = Status.UNKNOWN, math.nan
        reason = f"too few rows: {one.reference_rows} in the reference, {one.batch_rows} in the batch"
    elif math.isnan(adjusted_p) or math.isnan(psi):
        status, reason = Status.UNKNOWN, "not measured"
    else:
        reason = f"psi {psi:.3f} (threshold {psi_threshold:g}), adjusted p {adjusted_p:.2g}"
        if adjusted_p < p_threshold and psi >= psi_threshold:
            status = Status.RAISED
    return ConditionalFeature(
        feature=one.feature,
        label=one.label,
        status=status,
        adjusted_p=None if math.isnan(adjusted_p) else adjusted_p,
        psi=None if math.isnan(psi) else psi,
        reason=reason,
    )


def _gravest_first(one: ConditionalFeature) -> tuple[int, float, str, int]:
    return _GRAVEST_FIRST.index(one.status), -1.0 if one.psi is None else -one.psi, one.feature, one.label


def _overall(features: Sequence[ConditionalFeature]) -> tuple[Status, str]:
    if not features:
        return Status.UNKNOWN, "no feature was compared within the classes"
    for status, words in ((Status.RAISED, "moved"), (Status.UNKNOWN, "could not be judged")):
        some = [one for one in features if one.status is status]
        if some:
            return status, f"{len(some)} of {len(features)} comparisons within a class {words}: {_reasons(some)}"
    of_ones, of_zeros = ({one.feature for one in features if one.label == label} for label in (1, 0))
    lacking = sorted(of_ones ^ of_zeros)
    if lacking:
        return Status.UNKNOWN, f"not compared within both classes: {', '.join(lacking[:REASONS_SHOWN])}"
    return Status.CLEAR, f"none of {len(features)} comparisons within a class moved; largest: {_reasons(features[:1])}"


def _reasons(features: Sequence[ConditionalFeature]) -> str:
    shown = "; ".join(f"{one.feature} of label {one.label}: {one.reason}" for one in features[:REASONS_SHOWN])
    return shown if len(features) <= REASONS_SHOWN else f"{shown}; and {len(features) - REASONS_SHOWN} more"
