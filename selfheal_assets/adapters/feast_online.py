"""Brings a view's online values up to date after a batch. Never lets an older value replace a newer one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.feast_repository import quiet
from selfheal_assets.adapters.feast_transforms import TIMESTAMP, latest_rows, whole_seconds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from feast import FeatureStore

ROWS_A_REQUEST = 5_000
"""SQLite allows 32,766 variables in a statement."""
_INTERVALS_KEPT = 50
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def refresh(store: "FeatureStore", view_name: str, published: Path) -> tuple[int, datetime | None]:
    """Take the batch's file into the online store: (entities refreshed, event time up to which the view is online).

    Feast's SQLite store keeps what is written last, not what is newest. So Feast materializes only times after the end
    of the last interval that it has recorded; of a late batch, those entities are written whose online value is
    older. Losing the recorded interval costs one full pass and changes no value. Event times may run ahead of the
    wall clock: Feast compares them with the interval only.
    """
    view = store.get_feature_view(view_name)
    keys = [key.name for key in view.entity_columns]
    online_until = _online_until(view)
    latest = latest_rows(published, keys, [feature.name for feature in view.features])
    if latest.empty:
        return 0, online_until
    newest = latest[TIMESTAMP].max().to_pydatetime()
    late = latest.iloc[:0] if online_until is None else latest[latest[TIMESTAMP] <= online_until]
    with quiet():
        written = _write_late(store, view, keys, late)
        if online_until is None or newest > online_until:
            start = _BEGINNING if online_until is None else online_until + timedelta(microseconds=1)
            store.materialize(start, newest, feature_views=[view_name])
            if len(view.materialization_intervals) >= _INTERVALS_KEPT:
                _merge_intervals(store, view_name)
            online_until = newest
    return written + len(latest) - len(late), online_until


def refill(store: "FeatureStore", view_name: str) -> datetime | None:
    """Take the newest value of every entity into an online store that lost some; up to which event time, None for none.

    Twice changes nothing.
    """
    view = store.get_feature_view(view_name)
    online_until = _online_until(view)
    if online_until is not None:
        with quiet():
            store.materialize(_BEGINNING, online_until, feature_views=[view_name])
            _merge_intervals(store, view_name)
    return online_until


def _write_late(store: "FeatureStore", view: Any, keys: list[str], late: "pd.DataFrame") -> int:
    newer = late[whole_seconds(late[TIMESTAMP]) > _online_times(store, view, late[keys])]
    if not newer.empty:
        store.write_to_online_store(view.name, newer)
    return len(newer)


def _online_times(store: "FeatureStore", view: Any, entities: "pd.DataFrame") -> "np.ndarray":
    """Event times of the entities' online values as SQLite keeps them, whole seconds since 1970; 0 for none."""
    import numpy as np

    feature = f"{view.name}:{view.features[0].name}"
    times: list[int] = []
    for start in range(0, len(entities), ROWS_A_REQUEST):
        part = entities.iloc[start : start + ROWS_A_REQUEST]
        request = {key: part[key].tolist() for key in entities.columns}
        proto = store.get_online_features(features=[feature], entity_rows=request).proto
        place = list(proto.metadata.feature_names.val).index(view.features[0].name)
        times += [moment.seconds for moment in proto.results[place].event_timestamps]
    return np.array(times, dtype="int64")


def _merge_intervals(store: "FeatureStore", view_name: str) -> None:
    """Feast records an interval a batch, for ever, and reads them all each time; adjoining ones are one."""
    view = store.get_feature_view(view_name)
    starts, ends = zip(*view.materialization_intervals, strict=True)
    view.materialization_intervals = [(min(starts), max(ends))]
    store.registry.apply_feature_view(view, store.project)


def _online_until(view: Any) -> datetime | None:
    """The end of the last interval that Feast has recorded; None before the first."""
    return max((_aware(end) for _, end in view.materialization_intervals), default=None)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
