"""Answers the model server from Feast's online store: entities in, values that are fresh out. Never writes to it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import floor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.feast_frames import NO_ENTITY
from selfheal_assets.adapters.feast_on_demand import OnDemandView
from selfheal_assets.adapters.feast_repository import open_store, plan_service, quiet, translated
from selfheal_assets.adapters.feast_stores import FeastStores
from selfheal_assets.core.errors import FeatureError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.serving import Table

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.infra.provider import Provider

Identity = tuple[int, int]
_WHOLE_NUMBERS = {"Int32": range(-(2**31), 2**31), "Int64": range(-(2**63), 2**63)}


class FeastOnline:
    """The online store of one model's feature service. One object a process; safe among threads."""

    def __init__(
        self,
        spec: ModelSpec,
        home: Path,
        roots: Sequence[Path],
        stores: FeastStores = FeastStores(),  # noqa: B008 - frozen
    ) -> None:
        """`roots` hold a `feature_repo/` each, the first is the main one. Its definitions stay those of this moment.
        `stores`: where else than feature_store.yaml says.

        FeatureError when the registry does not answer or lacks the service. The online store may be away: `fetch` finds
        it once it is back.
        """
        self._request = spec.features.request
        self._store = _open([root.resolve() for root in roots], home.resolve(), stores)
        self._file = _sqlite_file(self._store)
        self._connecting = Lock()
        self._connected: tuple[Identity | None, Provider] | None = None
        name = spec.features.service
        with quiet(), translated(f"Feature service {name!r}", "Declare it in feature_repo, then `selfheal init`."):
            views = {view.name: view for view in self._store.list_all_feature_views()}
            self._plan = plan_service(self._store.get_feature_service(name), views)
        self._views = self._plan.stored
        self._ttl = {view.name: view.ttl.total_seconds() if view.ttl else None for view in self._plan.history}
        self.stored = {name: kind for features in self._views.values() for name, kind in features.items()}
        self.entity_types = self._plan.join_keys
        self.request_types = dict(self._plan.inputs)
        self._asked = [f"{view}:{name}" for view, features in self._views.items() for name in features]
        self._computed = [OnDemandView(view, self._plan) for view in self._plan.on_demand]
        self._warm()

    def names(self) -> list[str]:
        """As in the port: request columns, then the service's features in its order."""
        return [*self._request, *self._plan.features]

    def fetch(self, entities: Table, now: datetime) -> dict[str, list[Any]]:
        """As in the port. An entity that the store does not know, or that its type cannot hold, has no values.

        Blocks for as long as the store does: SQLite waits 5 s for a lock.
        """
        _require(entities, self.entity_types)
        keys = {name: [_key(value, kind) for value in entities[name]] for name, kind in self.entity_types.items()}
        if not self._asked or not next(iter(keys.values()), []):
            return {name: [] for name in self.stored}
        with translated("The online store", "Bring it back; until then the model server falls back."):
            # `FeatureStore.get_online_features` does no more than this, and keeps one connection for ever.
            response = self._provider().get_online_features(
                config=self._store.config,
                features=self._asked,
                entity_rows=keys,
                registry=self._store.registry,
                project=self._store.project,
            )
            return self._fresh(response.to_dict(include_event_timestamps=True), now)

    def on_demand(self, stored: Table, request: Table) -> dict[str, list[Any]]:
        """As in the port; `request` may have more columns, of which a function sees the join keys, as in Feast.

        FeatureError when a function fails.
        """
        _require(stored, self.stored)
        _require(request, self.request_types)
        kinds = {**self.stored, **self.entity_types, **self.request_types}
        columns = {name: stored[name] for name in self.stored}
        columns |= {name: _declared(request[name], kind) for name, kind in kinds.items() if name in request}
        rows = max((len(values) for values in columns.values()), default=0)
        found: dict[str, list[Any]] = {}
        for view in self._computed:
            found |= view.compute(columns, kinds, rows)
        return found

    def _fresh(self, answer: dict[str, list[Any]], now: datetime) -> dict[str, list[Any]]:
        """Feast hands out values past their ttl; it counts in whole seconds."""
        moment, found = floor(now.timestamp()), {}
        for view, features in self._views.items():
            ttl = self._ttl[view]
            for name in features:
                oldest = moment - ttl if ttl is not None else -1
                since = answer[f"{name}__ts"]
                # NaN, which is not itself, is a missing value.
                found[name] = [
                    value if value == value and not 0 < time < oldest else None
                    for value, time in zip(answer[name], since, strict=True)
                ]
        return found

    def _provider(self) -> "Provider":
        """Feast's way to the online store, over the file that is there at present.

        SQLite goes on reading a file that was taken away, and makes an empty one in place of a missing one.
        """
        from feast.infra.provider import get_provider

        found = _identity(self._file) if self._file else None
        if self._file and found is None:
            raise FeatureError(f"The online store must be there; {self._file} is missing. Bring it back.")
        with self._connecting:
            if self._connected is None or self._connected[0] != found:
                self._connected = found, get_provider(self._store.config)
            return self._connected[1]

    def _warm(self) -> None:
        """The first question imports and connects: longer than any deadline."""
        with suppress(FeatureError):
            self.fetch({key: [None] for key in self.entity_types}, datetime.now(UTC))
        with suppress(FeatureError):
            self.on_demand({name: [None] for name in self.stored}, {name: [None] for name in self.request_types})


def _open(roots: Sequence[Path], home: Path, stores: FeastStores) -> "FeatureStore":
    store = open_store(roots, home, stores)
    with quiet(), translated("Reading the feature registry", "Run `selfheal init`."):
        # Never expires: a registry that is slow or away must not hold up a request.
        store.registry.cached_registry_proto_ttl = timedelta(0)  # type: ignore[attr-defined]
        store.registry.refresh(store.project)
    return store


def _sqlite_file(store: "FeatureStore") -> Path | None:
    online = store.config.online_store
    return Path(store.config.repo_path or ".", online.path) if online.type == "sqlite" else None


def _identity(file: Path) -> Identity | None:
    """Which file it is; not reused while a connection holds the file open. None without a file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _require(columns: Table, names: Any) -> None:
    missing = [name for name in names if name not in columns]
    if missing:
        raise FeatureError(f"Rows must have the columns {list(names)}; {missing} are missing. Send them.")


def _key(value: Any, kind: str) -> Any:
    """What Feast is asked for an entity; what it would refuse is a key that no entity has."""
    if kind == "String":
        text = NO_ENTITY[kind] if value is None else str(value)
        return text if text.isascii() or _is_unicode(text) else NO_ENTITY[kind]
    whole = isinstance(value, int) and not isinstance(value, bool) and value in _WHOLE_NUMBERS[kind]
    return value if whole else NO_ENTITY[kind]


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can express it: not half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _declared(values: Sequence[Any], kind: str) -> Sequence[Any]:
    """A whole number in a column of floats is one of them."""
    if kind not in ("Float32", "Float64"):
        return values
    with translated("A request column of floats", "Send numbers."):
        return [None if value is None else float(value) for value in values]
