"""Tell what a history is, and draw one from the simulated payments world. Never decides what is done about it."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.causes import ABOUT_THE_METRIC, Cause
from selfheal_assets.core.errors import SpecError, UnreadableFileError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.rehearsal.wiring import declared_types, read_landed
from selfheal_assets.simulator.faults import Fault, fault_named
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld, Regime, window_start

if TYPE_CHECKING:
    import pandas as pd

FIRST_BATCHES = 8
"""Healthy ones before the first episode: the first model learns from some, and shows its usual figures on the rest."""
WORLD_WEIGHT = 3
WARM_BATCHES = 12
"""Three days of payments before the first batch: without them its rows alone would have no history, and every batch
after it would differ from the reference by that."""
HANDLING = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One batch of a history."""

    batch_id: str
    rows: "pd.DataFrame | None"
    """With its labels, whenever these came; None for a file that cannot be read."""
    arrived_at: datetime
    fault: str | None = None
    """What was done to it; None where nobody knows."""
    cause: Cause | None = None
    """What a perfect diagnosis would say of it."""
    unreadable: str = ""


@dataclass(frozen=True, kw_only=True)
class History:
    """Ordered batches, and where their features come from."""

    name: str
    arrivals: tuple[Arrival, ...]
    features: tuple[str, ...] | None
    """Columns of the rows that are the model's features; None: computed as the payments model's are."""
    before: "pd.DataFrame | None" = None
    """Rows of the feed from before the first batch, known to the feature store alone."""
    checked: bool
    """Whether the declared checks are run on the rows: not on those that passed them when they were recorded."""


def episodes(faults: Sequence[str], batches: int, first: int = FIRST_BATCHES) -> list[str]:
    """Fault by batch: healthy ones, then an episode each; those of the world are three times as long as the others.

    A fault of the world lasts for two thirds of its episode, another for one batch; the rest of an episode is healthy.
    """
    named = [fault_named(name) for name in faults]
    weights = np.array([WORLD_WEIGHT if of_the_world(fault) else 1 for fault in named], dtype=np.int64)
    ends = first + (batches - first) * np.cumsum(weights) // max(int(weights.sum()), 1)
    plan = ["healthy"] * min(first, batches)
    for fault, end in zip(named, ends.tolist(), strict=True):
        length = max(end - len(plan), 0)
        lasting = -(-2 * length // 3) if of_the_world(fault) else min(1, length)
        plan += [fault.name] * lasting + ["healthy"] * (length - lasting)
    return plan + ["healthy"] * (batches - len(plan))


def of_the_world(fault: Fault) -> bool:
    """Whether the world moved, and stays so, rather than a delivery that went wrong."""
    return fault.regime is not Regime.HEALTHY


def simulated(spec: ModelSpec, plan: Sequence[str], rows: int, seed: int, *, warm: bool = True) -> History:
    """The payments world, one batch for each fault name of `plan`. The same arguments give the same history.

    `warm`: the feed is three days old when the first batch comes, so that accounts have a history. Raises SpecError for
    a model of other data than the world's.
    """
    _require_payments(spec)
    types = declared_types(spec)
    with tempfile.TemporaryDirectory(prefix="selfheal-history-") as scratch:
        arrivals = tuple(_arrivals(plan, rows, seed, types, Path(scratch)))
    before = _before(rows, seed) if warm else None
    return History(name=f"simulated, seed {seed}", arrivals=arrivals, features=None, before=before, checked=True)


def _before(rows: int, seed: int) -> "pd.DataFrame":
    import pandas as pd

    world = PaymentsWorld(seed=seed)
    frame = pd.concat([world.batch(index, rows, Regime.HEALTHY) for index in range(WARM_BATCHES)], ignore_index=True)
    return frame.assign(event_timestamp=frame["event_timestamp"].dt.as_unit("us"))


def _arrivals(plan: Sequence[str], rows: int, seed: int, types: Mapping[str, str], folder: Path) -> Iterator[Arrival]:
    for name, group in groupby(enumerate(plan, start=WARM_BATCHES), key=lambda item: item[1]):
        part = list(group)
        # A gradual change begins with its own episode.
        world, fault = PaymentsWorld(seed=seed, since=part[0][0]), fault_named(name)
        for dropped in simulate(world, part, rows, folder):
            yield _arrival(dropped.path, dropped.index, fault, types)


def _arrival(file: Path, index: int, fault: Fault, types: Mapping[str, str]) -> Arrival:
    arrived_at = window_start(index + 1) + HANDLING
    frame: pd.DataFrame | None
    try:
        batch_id, frame = read_landed(file, types)
        unreadable = ""
    except UnreadableFileError as error:
        batch_id, frame, unreadable = f"{file.stem}-unreadable", None, str(error)
    return Arrival(
        batch_id=batch_id,
        rows=frame,
        arrived_at=arrived_at,
        fault=fault.name,
        cause=Cause(fault.cause),
        unreadable=unreadable,
    )


def _require_payments(spec: ModelSpec) -> None:
    columns = set(PaymentsWorld(seed=0).batch(0, 1, Regime.HEALTHY).columns)
    data = spec.data
    needed = {data.event_id, data.event_timestamp, data.label, *data.entities, *spec.features.request}
    if spec.features.service != "payments_v1" or not needed <= columns:
        raise SpecError(
            f"A simulated history is of the payments world; received the model {spec.name!r} of other data "
            f"({sorted(needed - columns) or spec.features.service}). Give --history a recorded one."
        )


def harmful(arrival: Arrival) -> bool:
    """Whether the truth says that the champion is harmed by what happened to the batch."""
    return arrival.cause in ABOUT_THE_METRIC
