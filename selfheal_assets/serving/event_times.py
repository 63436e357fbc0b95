"""Ask for features as of the time of the events: rows and their times in, features out. Never judges one by another."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from selfheal_assets.ports.serving import FeatureLevel, Resolved, Table
from selfheal_assets.serving.parts import FeatureSource

SAME_TIME = timedelta(hours=1)
"""Rows within so long have their features judged fresh as of the latest of them."""


def resolve_as_of(source: FeatureSource, entities: Table, request: Table, times: Sequence[datetime]) -> Resolved:
    """Features of n rows; as a rule with one question, else with one for each hour of the events."""
    if max(times) - min(times) <= SAME_TIME:
        return source.resolve(entities, request, max(times))
    hours = defaultdict[datetime, list[int]](list)
    for place, time in enumerate(times):
        hours[time.replace(minute=0, second=0, microsecond=0)].append(place)
    columns = defaultdict[str, dict[int, Any]](dict)
    levels = dict[int, FeatureLevel]()
    for places in hours.values():
        latest = max(times[place] for place in places)
        part = source.resolve(_rows(entities, places), _rows(request, places), latest)
        levels.update(zip(places, part.levels, strict=True))
        for name, values in part.columns.items():
            columns[name].update(zip(places, values, strict=True))
    order = range(len(times))
    return Resolved(
        columns={name: [values[place] for place in order] for name, values in columns.items()},
        levels=[levels[place] for place in order],
    )


def _rows(table: Table, places: Sequence[int]) -> Table:
    return {name: [values[place] for place in places] for name, values in table.items()}
