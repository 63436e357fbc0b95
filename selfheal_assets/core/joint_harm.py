"""Ask whether batches show harm together: realised performance in; the batches that do out. Never joins estimates."""

from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.fixed_effect import pooled
from selfheal_assets.core.statistics.metrics import higher_is_better
from selfheal_assets.core.windows import Window


def harmed_together(metric: MetricName, performance: Window) -> tuple[Evidence, ...]:
    """The newest batches, at least k, whose metric each lies beyond its threshold, and whose pooled interval does.

    The interval of one small batch is wide: two in a row that both look bad, and neither proves it, may prove it
    together. One batch on the good side ends the row. Empty where they do not.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    row: list[Evidence] = []
    for evidence in reversed(performance.evidence):
        if _half_width(evidence, sign) is None or not _distance(evidence, sign) < 0.0:
            break
        row.append(evidence)
    if len(row) < performance.k:
        return ()
    distance, half_width = pooled(
        [_distance(e, sign) for e in row], [half for e in row if (half := _half_width(e, sign)) is not None]
    )
    return tuple(reversed(row)) if distance + half_width < 0.0 else ()


def _distance(evidence: Evidence, sign: float) -> float:
    """From the threshold to the metric; negative: harm."""
    assert evidence.value is not None
    assert evidence.threshold is not None
    return sign * (evidence.value - evidence.threshold)


def _half_width(evidence: Evidence, sign: float) -> float | None:
    """Of the interval, on its better side; None where the statement has none."""
    interval = evidence.details.get("interval")
    if not interval or evidence.value is None or evidence.threshold is None:
        return None
    half = sign * (interval[1 if sign > 0 else 0] - evidence.value)
    return half if half > 0.0 else None
