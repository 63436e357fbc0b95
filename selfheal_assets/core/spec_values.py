"""Name the kinds of value that a declaration may hold, with their bounds. Knows no field and no default."""

from collections.abc import Hashable
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from selfheal_assets.core.errors import SpecError

Share = Annotated[float, Interval(gt=0.0, lt=1.0)]
NonNegative = Annotated[float, Ge(0.0)]
Positive = Annotated[float, Gt(0.0)]
Count = Annotated[int, Ge(1)]
Columns = tuple[str, ...]
MetricName = Literal["roc_auc", "average_precision", "log_loss"]


def no_repeats(rule: str, values: tuple[Hashable, ...]) -> None:
    """Raise SpecError when a value stands twice; `rule` is the field's name."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise SpecError(f"{rule} must not repeat; received {repeated} more than once. Remove the repeats.")
