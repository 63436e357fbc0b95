"""Find every feature of a request, whatever state the feature store is in. Never takes longer than the deadline."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential_jitter

from selfheal_assets.core.errors import FeatureError, SpecError
from selfheal_assets.core.feature_defaults import default_problems, typed_default
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.ledger import Clock
from selfheal_assets.ports.serving import FeatureLevel, OnlineStore, Resolved, Table
from selfheal_assets.serving.bounded_threads import BoundedThreads
from selfheal_assets.serving.breaker import Breaker
from selfheal_assets.serving.feature_cache import FeatureCache, Key, Values

CACHED_ENTITIES = 10_000
"""Whose last answer is kept, in each process."""
THREADS = 4
"""At most so many requests ask the store at a time, in each process."""
ENTITIES_A_QUESTION = 100
"""Feast needs 4 ms for so many. A large request has what was answered by the deadline."""


@dataclass
class _Question:
    """What one request asks the store, and what it said so far."""

    keys: list[Key]
    now: datetime
    deadline: float
    found: dict[Key, Values] = field(default_factory=dict)
    refused: str | None = None
    """The store's own words, where it had any."""


class FeatureResolver:
    """Three levels a row: the store, its last answer, the declared defaults. One object a process; thread-safe."""

    def __init__(self, spec: ModelSpec, store: OnlineStore, clock: Clock, threads: int = THREADS) -> None:
        """SpecError when `serving.defaults` does not fit the store's features."""
        serving = spec.serving
        if problems := default_problems(serving.defaults, store.stored):
            raise SpecError("\n".join(problems))
        self._store, self._clock = store, clock
        self._entities, self._stored = spec.data.entities, list(store.stored)
        self._needed = list(dict.fromkeys([*self._entities, *spec.features.request, *store.request_types]))
        defaults = {name: typed_default(value, store.stored[name]) for name, value in serving.defaults.items()}
        self._defaults: Values = tuple(defaults.get(name) for name in self._stored)
        self._seconds = serving.feature_deadline_ms / 1000.0
        self._cache = FeatureCache(CACHED_ENTITIES, timedelta(minutes=serving.cached_max_age_minutes))
        self._breaker = Breaker(serving.breaker_failures, serving.breaker_seconds, clock)
        self._threads = BoundedThreads(threads, "feature-store")
        first = self._seconds / 25.0
        self._retrying = Retrying(
            stop=stop_before_delay(self._seconds),
            wait=wait_exponential_jitter(initial=first, max=self._seconds / 3.0, jitter=first),
            retry=retry_if_exception_type(FeatureError),
            reraise=True,
        )
        self._counting = Lock()
        self._levels: Counter[FeatureLevel] = Counter()
        self._uncomputed = 0
        self._trouble: str | None = None

    @property
    def breaker_open(self) -> bool:
        """Whether the store is not asked at present, but for a probe."""
        return self._breaker.open

    @property
    def answered(self) -> dict[FeatureLevel, int]:
        """Rows so far, by where their features came from."""
        with self._counting:
            return {level: self._levels[level] for level in FeatureLevel}

    @property
    def uncomputed(self) -> int:
        """Rows so far whose on-demand features are missing because a function failed."""
        return self._uncomputed

    @property
    def trouble(self) -> str | None:
        """Why the store did not answer the last request in full; None when it did."""
        return self._trouble

    def resolve(self, entities: Table, request: Table, now: datetime) -> Resolved:
        """Every feature of the rows as of `now`, the time of the events.

        A row whose entity the live store does not know is LIVE, with missing values. Blocks for the feature deadline at
        most, and for the on-demand functions. FeatureError for a missing column.
        """
        given = {**entities, **request}
        if absent := [name for name in self._needed if name not in given]:
            raise FeatureError(f"Rows must have the columns {self._needed}; {absent} are missing. Send them.")
        keys: list[Key] = list(zip(*(given[name] for name in self._entities), strict=True))
        rows, levels = self._by_level(keys, now)
        stored = {name: [row[place] for row in rows] for place, name in enumerate(self._stored)}
        columns = {**given, **stored, **self._on_demand(stored, given, len(keys))}
        with self._counting:
            self._levels.update(levels)
        return Resolved(columns={name: columns[name] for name in self._store.names()}, levels=levels)

    def close(self) -> None:
        """Ask no more."""
        self._threads.close()

    def _by_level(self, keys: Sequence[Key], now: datetime) -> tuple[list[Values], list[FeatureLevel]]:
        if not self._stored:
            return [() for _ in keys], [FeatureLevel.LIVE for _ in keys]
        live = self._live(list(dict.fromkeys(keys)), now)
        # By the clock, not by `now`: events may be told late, or ahead of time.
        asked_at = self._clock.now()
        rows, levels = [], []
        for key in keys:
            level, values = FeatureLevel.LIVE, live.get(key)
            if values is None:
                level, values = FeatureLevel.CACHED, self._cache.get(key, asked_at)
            if values is None:
                level, values = FeatureLevel.DEFAULT, self._defaults
            rows.append(values)
            levels.append(level)
        return rows, levels

    def _live(self, keys: list[Key], now: datetime) -> dict[Key, Values]:
        """What the store says of the entities within the deadline: of all, of some, or of none."""
        if not keys:
            return {}
        if not self._breaker.admits():
            self._trouble = "The feature store failed too often in a row; it is not asked until the breaker closes."
            return {}
        question = _Question(keys, now, monotonic() + self._seconds)
        try:
            self._retrying(self._attempt, question)
            self._trouble = None
        except Exception as error:
            # Whatever the store's client raises, the request is answered.
            late = f"The feature store must answer within {self._seconds:g} s; it did not."
            self._trouble = question.refused or str(error) or late
            if not question.found:
                self._breaker.failed()
        # A copy: a thread that is late may still add to it.
        return dict(question.found)

    def _attempt(self, question: _Question) -> None:
        asking = self._threads.submit(partial(self._ask, question), question.deadline)
        try:
            asking.result(max(0.0, question.deadline - monotonic()))
        except FeatureError as error:
            question.refused = str(error)
            raise

    def _ask(self, question: _Question) -> None:
        """On a thread of its own: the caller does not wait past the deadline, and late answers serve the cache."""
        keys = [key for key in question.keys if key not in question.found]
        for start in range(0, len(keys), ENTITIES_A_QUESTION):
            part = keys[start : start + ENTITIES_A_QUESTION]
            asked_at = self._clock.now()
            answer = self._store.fetch(dict(zip(self._entities, zip(*part, strict=True), strict=True)), question.now)
            said = dict(zip(part, zip(*(answer[name] for name in self._stored), strict=True), strict=True))
            self._cache.put(said, asked_at)
            if monotonic() > question.deadline:
                return
            question.found.update(said)
            self._breaker.succeeded()

    def _on_demand(self, stored: Table, given: Table, rows: int) -> dict[str, list[Any]]:
        """A function that fails on one row leaves that row's on-demand features missing, and no other's."""
        try:
            return self._store.on_demand(stored, given)
        except FeatureError:
            if rows > 1:
                half = rows // 2
                first = self._on_demand(_part(stored, 0, half), _part(given, 0, half), half)
                second = self._on_demand(_part(stored, half, rows), _part(given, half, rows), rows - half)
                return {name: first[name] + second[name] for name in first}
        with self._counting:
            self._uncomputed += 1
        return {name: [None] for name in self._store.names() if name not in stored and name not in given}


def _part(table: Table, start: int, end: int) -> Table:
    return {name: values[start:end] for name, values in table.items()}
