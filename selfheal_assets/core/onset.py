"""Estimate the batch at which a signal's values began to be different. Never judges whether they did."""

from collections.abc import Iterable

from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.statistics.change_point import mean_shift_index


def began_at(evidence: Iterable[Evidence], signal: Signal) -> str | None:
    """The first batch after the most likely single change of the signal's mean; None where there is none to be had."""
    measured = sorted(
        (e for e in evidence if e.signal is signal and e.value is not None), key=lambda e: (e.event_time, e.batch_id)
    )
    place = mean_shift_index([e.value for e in measured if e.value is not None])
    return measured[place].batch_id if place is not None else None
