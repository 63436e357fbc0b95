"""Read a history that was recorded: a home's feature files, or a folder of tables. Never changes a file of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.rehearsal.history import HANDLING, Arrival, History
from selfheal_assets.rehearsal.wiring import current_labels, feature_files, read_landed

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def recorded(spec: ModelSpec, folder: Path, batches: int | None = None) -> History:
    """The first `batches` of a folder, in the order of their first events.

    A home (SELFHEAL_HOME) gives the features of its clean batches, with the labels that came later. Any other folder
    gives its CSV and Parquet files: every column but the event id, the time, the label and the entities is a feature,
    and so are entities that the model requests. Nobody knows the truth of a recorded batch. Raises SpecError.
    """
    if not folder.is_dir():
        raise SpecError(f"A recorded history must be a folder; received {folder}. Give a home, or a folder of tables.")
    files = feature_files(folder, spec.name)
    home = bool(files)
    if not home:
        files = sorted(f for f in folder.iterdir() if f.suffix in SUFFIXES and not f.name.startswith("."))
    tables = [_table(spec, file, home) for file in files]
    ordered = sorted(tables, key=lambda item: item[1][spec.data.event_timestamp].min())[:batches]
    if not ordered:
        raise SpecError(f"A recorded history must have tables; received {folder} without any. Look for another folder.")
    arrivals, latest = [], None
    for batch_id, rows in ordered:
        if home:
            rows = current_labels(folder, spec, batch_id, rows)
        ended = rows[spec.data.event_timestamp].max().to_pydatetime() + HANDLING
        latest = ended if latest is None else max(latest, ended)
        arrivals.append(Arrival(batch_id=batch_id, rows=rows, arrived_at=latest))
    names = _features(spec, arrivals[0].rows, files[0])
    return History(name=str(folder), arrivals=tuple(arrivals), features=names, checked=False)


def _table(spec: ModelSpec, file: Path, home: bool) -> "tuple[str, pd.DataFrame]":
    import pandas as pd

    data = spec.data
    types = {data.event_timestamp: "timestamp", data.event_id: "string"}
    batch_id, rows = read_landed(file, types)
    missing = [name for name in (data.event_id, data.event_timestamp, data.label) if name not in rows]
    if missing:
        raise SpecError(f"A recorded batch must have the columns {missing}; received {file} without. Add them.")
    label = pd.to_numeric(rows[data.label], errors="coerce").astype("float64")
    # A home keeps no entities beside the features: the join that they were for is done.
    absent = [name for name in data.entities if name not in rows]
    rows = rows.assign(**{data.label: label}).assign(**dict.fromkeys(absent, ""))
    return file.stem if home else batch_id, rows


def _features(spec: ModelSpec, rows: "pd.DataFrame | None", file: Path) -> tuple[str, ...]:
    data = spec.data
    apart = {data.event_id, data.event_timestamp, data.label, *(set(data.entities) - set(spec.features.request))}
    names = tuple(str(name) for name in rows if name not in apart) if rows is not None else ()
    missing = sorted(set(spec.features.request) - set(names))
    if missing:
        raise SpecError(f"A recorded batch must have the features {missing}; received {file} without. Add them.")
    return names
