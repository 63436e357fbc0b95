"""Keep a rehearsal's batches, labels and features as frames in memory, in the ports' words. Never touches a file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import BatchRows, FrameRows, Published

if TYPE_CHECKING:
    import pandas as pd


class FrameStore:
    """What of the `BatchStore` port the loop uses once a file has been read; nothing lands here."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
        self._documents: dict[tuple[str, str], dict[str, Any]] = {}

    def has(self, model: str, stage: str, batch_id: str) -> bool:
        return batch_id in self._tables.get((model, stage), {})

    def read(self, model: str, stage: str, batch_id: str) -> "pd.DataFrame":
        """A copy: what its reader adds to it stays with the reader."""
        return self._tables[model, stage][batch_id].copy()

    def rows(self, model: str, stage: str, batch_id: str) -> FrameRows:
        return FrameRows(self._tables[model, stage][batch_id])

    def write(self, model: str, stage: str, batch_id: str, frame: "pd.DataFrame") -> Path:
        self._tables.setdefault((model, stage), {})[batch_id] = frame.copy()
        return self.path(model, stage, batch_id)

    def path(self, model: str, stage: str, batch_id: str) -> Path:
        """A name to show; no file stands there."""
        return Path(stage, model, batch_id)

    def write_document(self, model: str, name: str, content: Mapping[str, Any]) -> Path:
        self._documents[model, name] = dict(content)
        return Path("documents", model, name)

    def read_document(self, model: str, name: str) -> dict[str, Any] | None:
        return self._documents.get((model, name))

    def earlier(self, model: str, batch_id: str) -> "Callable[[str, pd.Series], pd.Series]":
        """A look-up over all other clean batches: which of the values stand in that column."""
        others = [frame for key, frame in self._tables.get((model, "clean"), {}).items() if key != batch_id]

        def stands(column: str, values: "pd.Series") -> "pd.Series":
            known = {value for frame in others if column in frame for value in frame[column].dropna()}
            return values.isin(known)

        return stands


class LateLabels:
    """What of the `LabelStore` port the loop uses: the labels that came for a batch after it did."""

    def __init__(self) -> None:
        self._came: dict[str, pd.Series] = {}

    def arrive(self, batch_id: str, labels: "pd.Series") -> None:
        """Labels of a batch, indexed by event id."""
        self._came[batch_id] = labels

    def current(self, model: str, batch_id: str, event_ids: "pd.Series") -> "pd.Series | None":  # noqa: ARG002
        """The labels that came for these event ids, in their order, NaN where none did; None when none ever came."""
        came = self._came.get(batch_id)
        return None if came is None else event_ids.map(came).astype("float64")


class FrameFeatures:
    """The `FeatureStore` port over frames: features are computed once, when their batch is published, then looked up.

    `compute` maps the clean rows of one batch, in the order of the batches, to their features, row by row.
    """

    def __init__(self, event_id: str, names: Sequence[str], compute: "Callable[[pd.DataFrame], pd.DataFrame]") -> None:
        self._event_id, self._names, self._compute = event_id, list(names), compute
        self._known: list[pd.DataFrame] = []

    def names(self, spec: ModelSpec) -> list[str]:  # noqa: ARG002 - the port's signature
        return list(self._names)

    def publish(
        self,
        spec: ModelSpec,  # noqa: ARG002 - the port's signature
        batch_id: str,  # noqa: ARG002
        rows: "pd.DataFrame | BatchRows",
    ) -> Published:
        import pandas as pd

        frame = rows if isinstance(rows, pd.DataFrame) else rows.frame()
        computed = self._compute(frame)[self._names].set_axis(frame[self._event_id], axis=0)
        self._known.append(computed)
        return Published(offline_rows={"frames": len(rows)}, online_rows=0, materialized_until=None)

    def historical(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":  # noqa: ARG002
        """Of rows that were published; the first value stands for an event id that came twice."""
        import pandas as pd

        wanted = pd.Index(rows[self._event_id])
        holding = [frame for frame in self._known if frame.index.isin(wanted).any()]
        known = pd.concat(holding)
        known = known[~known.index.duplicated()]
        return known.reindex(wanted).set_axis(rows.index, axis=0)

    def online(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        return self.historical(spec, rows)
