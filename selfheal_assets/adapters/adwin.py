"""Watch a stream of losses with River's ADWIN: losses in order to the first rise of their mean. Never alarms on a fall.

Bifet & Gavalda 2007 (SIAM International Conference on Data Mining, p. 443): the window of the newest losses is cut
wherever its two parts have means that differ by more than chance at `delta` allows. River tells that it was cut; where
and which way is the least-squares shift of the window, as River cuts by whole buckets of up to half the window.
A fall cuts the window too, and the detector starts anew after it, so that a later return to the old level is a rise.
It has no tolerance: on a long stream a rise of no consequence alarms.
"""

from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import DetectorError
from selfheal_assets.core.sequential_harm import LossChange
from selfheal_assets.core.statistics.change_point import mean_shift_index
from selfheal_assets.core.statistics.confidence_sequence import unit_values

if TYPE_CHECKING:
    import numpy.typing as npt

DELTA = 0.002
"""River's own default."""
COMPARED_EVERY = 32
"""Losses between two looks (River's `clock`)."""


def detect_rise(losses: "npt.ArrayLike", delta: float = DELTA) -> LossChange | None:
    """The first rise of the mean in `losses` (n,), each in [0, 1], in order of arrival; None: too few for one look.

    Time grows with n: under a microsecond a loss. Raises DetectorError for a delta outside (0, 1), and
    SelfhealError for a loss missing or outside [0, 1].
    """
    from river.drift import ADWIN

    if not 0.0 < delta < 1.0:
        raise DetectorError(f"delta must lie between 0 and 1; received {delta}. Use for example {DELTA}.")
    stream = unit_values("losses", losses)
    if len(stream) < COMPARED_EVERY:
        return None
    detector: Any = ADWIN(delta=delta, clock=COMPARED_EVERY)  # type: ignore[no-untyped-call]  # River has no types.
    window_start = 0
    for index, loss in enumerate(stream.tolist()):
        detector.update(loss)
        window = stream[window_start : index + 1]
        if not detector.drift_detected or (place := mean_shift_index(window)) is None:
            continue
        before, after = float(window[:place].mean()), float(window[place:].mean())
        if after > before:
            since = window_start + place
            return LossChange(alarm=True, index=index, since_index=since, mean_before=before, mean_after=after)
        window_start = index + 1  # River forgets the whole window with the next loss.
    held = stream[window_start:]
    mean = float(held.mean()) if len(held) else None
    return LossChange(alarm=False, index=None, since_index=None, mean_before=None, mean_after=mean)
