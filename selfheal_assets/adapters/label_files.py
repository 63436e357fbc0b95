"""Read a label file into checked labels: bytes in, event ids with 0 or 1 out. Never guesses what a label means."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.adapters.tables import read_table
from selfheal_assets.adapters.value_lookup import as_text
from selfheal_assets.core.errors import UnusableLabelsError
from selfheal_assets.core.model_spec import DataSpec
from selfheal_assets.ports.labels import LABEL_TIMESTAMP

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3


def read_label_file(path: Path, data: DataSpec, types: Mapping[str, str]) -> "pd.DataFrame":
    """The file's rows as they came, every column kept. Raises UnreadableFileError when the bytes are not a table."""
    wanted = {**types, data.label: "float", LABEL_TIMESTAMP: "timestamp"}
    return read_table(path, wanted)


def checked_labels(frame: "pd.DataFrame", data: DataSpec) -> "pd.DataFrame":
    """The rows that have a label, one an event id and time. Columns: event_id (text), label, label_timestamp.

    A row without a label says nothing, and is left out. Raises UnusableLabelsError for anything that would have to be
    guessed: a file is used whole or not at all.
    """
    import pandas as pd

    missing = [name for name in (data.event_id, data.label) if name not in frame]
    if missing:
        raise _unusable(f"must have the columns {data.event_id!r} and {data.label!r}", f"none called {missing}")
    ids = as_text(frame[data.event_id])
    if ids.isna().any():
        raise _unusable(f"must have a {data.event_id} in every row", f"{int(ids.isna().sum())} rows without one")
    label = pd.to_numeric(frame[data.label], errors="coerce").astype("float64")
    strange = frame[data.label].notna() & ~label.isin([0.0, 1.0])
    if strange.any():
        raise _unusable("must hold labels of 0, 1 or nothing", _some(frame.loc[strange, data.label]))
    found = pd.DataFrame({"event_id": ids, "label": label, LABEL_TIMESTAMP: _times(frame)})
    found = found[label.notna()].drop_duplicates().reset_index(drop=True)
    twice = found.duplicated(["event_id", LABEL_TIMESTAMP], keep=False)
    if twice.any():
        raise _unusable("must not contradict itself", f"both labels for {_some(found.loc[twice, 'event_id'])}")
    return found


def _times(frame: "pd.DataFrame") -> "pd.Series":
    import pandas as pd

    if LABEL_TIMESTAMP not in frame or frame[LABEL_TIMESTAMP].isna().all():
        return pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    times = frame[LABEL_TIMESTAMP]
    if not pd.api.types.is_datetime64_any_dtype(times):
        raise _unusable(f"must hold times in {LABEL_TIMESTAMP}, where it has that column", _some(times))
    return times.astype("datetime64[us, UTC]")


def _some(values: "pd.Series") -> str:
    distinct = values.dropna().unique().tolist()
    more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
    return ", ".join(repr(value)[:60] for value in distinct[:SHOWN]) + more


def _unusable(rule: str, received: str) -> UnusableLabelsError:
    return UnusableLabelsError(
        f"A label file {rule}; received {received}. Correct the file and land it again; nothing of it was used."
    )
