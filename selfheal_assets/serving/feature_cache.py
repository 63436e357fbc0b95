"""Keep what the feature store last said of each entity, for when it says nothing. Never grows past its limit."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

Key = tuple[Any, ...]
"""An entity: the values of its join keys."""
Values = tuple[Any, ...]
"""An entity's stored features, in a fixed order."""


class FeatureCache:
    """The `limit` entities that were seen last. Thread-safe."""

    def __init__(self, limit: int, max_age: timedelta) -> None:
        """`max_age`: how long after it was fetched an answer may be used; with none it never is."""
        self._limit, self._max_age = limit, max_age
        self._lock = Lock()
        self._kept: OrderedDict[Key, tuple[datetime, Values]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, found: Mapping[Key, Values], now: datetime) -> None:
        """Keep what the store said at `now`; what it said later stays."""
        if not self._max_age:
            return
        with self._lock:
            for key, values in found.items():
                before = self._kept.pop(key, None)
                self._kept[key] = before if before is not None and before[0] > now else (now, values)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def get(self, key: Key, now: datetime) -> Values | None:
        """What the store said of the entity; None when that is too long ago, or nothing."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or now - kept[0] > self._max_age:
                return None
            self._kept.move_to_end(key)
            return kept[1]
