"""Drop batches into a landing folder: tables and a plan of faults in, files out. Never replaces a file there."""

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.errors import BatchError, SpecError
from selfheal_assets.durable import replaced
from selfheal_assets.simulator.faults import Cause, Fault, FileEffect, fault_named
from selfheal_assets.simulator.late_labels import LateLabels
from selfheal_assets.simulator.payments import (
    EPOCH,
    PaymentsWorld,
    Regime,
    window_start,
)

if TYPE_CHECKING:
    import pandas as pd

LATE_WINDOWS = 8
TRUNCATED_SHARE = 0.4


@dataclass(frozen=True)
class Dropped:
    """One file that was put in place, and the truth about it."""

    path: Path
    index: int
    fault: str
    cause: Cause
    rows: int
    """Rows that were written, before any bytes were cut."""


def drop(frame: "pd.DataFrame", folder: Path, name: str, *, damage: float | None = None) -> Path:
    """Write `frame` as CSV or Parquet, by the suffix of `name`, under a dot-name, and rename it into place.

    Event times are written in microseconds, UTC. `damage` is the share of the bytes, 0 to 1, cut off the end.
    Raises SpecError for a name or a damage that cannot be, BatchError when the name is taken or cannot be written.
    """
    if name.startswith(".") or PurePath(name).name != name:
        raise SpecError(
            f"A landed file's name must be a plain one without a leading dot; received {name!r}. Rename it."
        )
    if damage is not None and not 0 < damage < 1:
        raise SpecError(f"damage must be a share between 0 and 1; received {damage}. Correct it, or give None.")
    suffix = PurePath(name).suffix
    if suffix not in (".csv", ".parquet"):
        raise SpecError(f"A landed file's name must end in .csv or .parquet; received {name!r}. Rename it.")
    try:
        content = _encode(frame, suffix)
        return _put(content[: round(len(content) * (1 - (damage or 0.0)))], folder, name)
    except (OSError, ValueError, TypeError) as error:
        raise BatchError(
            "A batch must be a table, dropped under a name that is free in a folder that can be written; "
            f"received {name!r} for {folder}: {error}. Correct the table, the name or the folder."
        ) from error


def simulate(
    world: PaymentsWorld,
    plan: Sequence[tuple[int, str]],
    rows: int,
    folder: Path,
    *,
    usual: Regime = Regime.HEALTHY,
    epoch: datetime = EPOCH,
    labels_after: int | None = None,
) -> Iterator[Dropped]:
    """Drop one file for each (batch index, fault name) of `plan`, in order, as the iterator is read.

    `usual` is the state of the world under the faults that do not bring their own: HARMFUL_SHIFT for healthy batches
    after a harmful shift. `epoch` is where the window of batch 0 begins. With `labels_after` the batches have no
    labels; those of batch i land in a file of their own, in `folder`/labels, after batch i + `labels_after` was
    dropped, by this simulation or a later one. The same arguments give the same rows. Raises SpecError for an unknown
    fault, a repeat without an earlier batch, or labels that are not late, before anything is dropped.
    """
    faults = [(index, fault_named(name)) for index, name in plan]
    for index, fault in faults:
        if index == 0 and fault.file_effect is FileEffect.REPEATED:
            raise SpecError(f"{fault.name} needs an earlier batch; received it for index 0. Give it a later index.")
    late = None if labels_after is None else LateLabels(folder, labels_after)
    return _drop_each(world, faults, rows, folder, usual, epoch, late)


def _drop_each(
    world: PaymentsWorld,
    faults: Sequence[tuple[int, Fault]],
    rows: int,
    folder: Path,
    usual: Regime,
    epoch: datetime,
    late: LateLabels | None,
) -> Iterator[Dropped]:
    sound: pd.DataFrame | None = None
    for index, fault in faults:
        if fault.file_effect is FileEffect.REPEATED:
            frame = world.batch(index - 1, rows, usual, window_start(index - 1, epoch)) if sound is None else sound
        else:
            frame = _rows_of(world, index, fault, rows, usual, epoch)
        if fault.cause != "bad_data":
            sound = frame
        damage = TRUNCATED_SHARE if fault.file_effect is FileEffect.TRUNCATED else None
        landing = frame if late is None else late.hold(frame, index)
        path = drop(landing, folder, f"payments-{index:04d}.parquet", damage=damage)
        if late is not None:
            late.land(index)
        yield Dropped(path, index, fault.name, fault.cause, len(frame))


def _rows_of(
    world: PaymentsWorld, index: int, fault: Fault, rows: int, usual: Regime, epoch: datetime
) -> "pd.DataFrame":
    window = index - LATE_WINDOWS if fault.file_effect is FileEffect.LATE else index
    regime = usual if fault.regime is Regime.HEALTHY else fault.regime
    frame = world.batch(index, rows, regime, window_start(window, epoch))
    if fault.apply is None:
        return frame
    return fault.apply(frame, np.random.default_rng([world.seed, index, zlib.crc32(fault.name.encode())]))


def _encode(frame: "pd.DataFrame", suffix: str) -> bytes:
    aware = {str(name): frame[name].dt.tz_convert("UTC") for name in frame.select_dtypes("datetimetz")}
    frame = frame.assign(**{name: times.dt.as_unit("us") for name, times in aware.items()})
    buffer = io.BytesIO()
    if suffix == ".parquet":
        frame.to_parquet(buffer, index=False)
    else:
        frame.to_csv(buffer, index=False, date_format="%Y-%m-%dT%H:%M:%S.%f%z")
    return buffer.getvalue()


def _put(content: bytes, folder: Path, name: str) -> Path:
    target = folder / name
    with replaced(target) as draft:
        draft.write_bytes(content)
        if target.exists():  # It has landed, and was not read yet.
            raise FileExistsError(f"{name} exists")
    return target
