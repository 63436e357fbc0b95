"""Remember recent answers by event id, so that a repeated request gets the same one. Never grows past its bounds."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

MAX_ANSWERS = 50_000
MAX_AGE_S = 600.0


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was answered to one row."""

    row: int
    """Hash of the row as it was sent."""
    answer: Mapping[str, Any]
    until: float


def fingerprint(row: Mapping[str, Any]) -> int:
    """Of a row as it was sent, whatever the order of its keys; of this process."""
    return hash(frozenset(row.items()))


class RecentAnswers:
    """At most `max_answers` answers, none older than `max_age_s`. For many threads."""

    def __init__(self, max_answers: int = MAX_ANSWERS, max_age_s: float = MAX_AGE_S) -> None:
        self._max_answers = max_answers
        self._max_age_s = max_age_s
        self._kept: OrderedDict[Any, Remembered] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, event_id: Any, now: float) -> Remembered | None:
        """What was answered under the id; None when that is unknown, or too long ago. Unit of `now`: seconds."""
        found = self._kept.get(event_id)
        return found if found is not None and found.until > now else None

    def keep(self, event_id: Any, row: int, answer: Mapping[str, Any], now: float) -> Remembered:
        """The answer that counts for the id: of two requests at the same time, the one kept first."""
        with self._lock:
            earlier = self._kept.get(event_id)
            if earlier is not None and earlier.until > now:
                return earlier
            kept = self._kept[event_id] = Remembered(row, answer, now + self._max_age_s)
            self._kept.move_to_end(event_id)
            self._forget(now)
            return kept

    def _forget(self, now: float) -> None:
        """The oldest stand first."""
        while self._kept:
            oldest = next(iter(self._kept))
            if len(self._kept) <= self._max_answers and self._kept[oldest].until > now:
                return
            del self._kept[oldest]
