"""Where labels that come after their rows are kept, and the values that cross. Never imports an adapter."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from selfheal_assets.core.model_spec import DataSpec
from selfheal_assets.ports.batches import LandedFile

if TYPE_CHECKING:
    import pandas as pd

LABEL_TIMESTAMP = "label_timestamp"
"""The optional column of a label file: when the outcome was established."""


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """Up to where labels that wait were looked for."""

    joins: int
    """How many joins there were."""
    sequence: int
    """The ledger's place up to which the batches that had settled were looked at by the last join."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """The labels of one batch that came in files of their own, after a merge."""

    rows: int
    corrections: int
    """How often one of them contradicted what was known before."""
    digest: str
    """Changes with any label and with the file that it is from."""


class LabelStore(Protocol):
    """Label files, the labels that wait for their batch, and the current labels of each batch; all durable files.

    An event id is compared as text, so that 7, 7.0 and "7" are the same.
    """

    def landing(self, model: str) -> Path: ...

    def landed(self, model: str) -> list[LandedFile]:
        """Files in place, in the order in which they came, and those that a join claimed and did not take."""
        ...

    def file_id(self, file: Path) -> str:
        """Unique by name and content; safe as a file name and a tag. Raises OSError when it cannot be read."""
        ...

    def known(self, model: str, file_id: str) -> bool:
        """Whether the file was taken before."""
        ...

    def drop_duplicate(self, model: str, file: Path) -> bool:
        """Remove a landed copy of a file that was taken before; True when that is what stood there."""
        ...

    def joining(self, model: str) -> AbstractContextManager[object]:
        """Held by the one process that takes and joins; others wait. Raises BatchError after a long wait."""
        ...

    def claim(self, model: str, file: Path) -> str | None:
        """Put a landed file out of its sender's reach; its id, or None when it is gone."""
        ...

    def take(self, model: str, file_id: str, data: DataSpec, types: Mapping[str, str], now: datetime) -> None:
        """Keep a claimed file for ever and put its labels among those that wait. Twice changes nothing.

        Raises UnreadableFileError or UnusableLabelsError; the file is then still where it was.
        """
        ...

    def quarantined(self, model: str, file_id: str) -> Path:
        """The folder of a file that is in quarantine, or would be."""
        ...

    def quarantine(self, model: str, file_id: str, reason: str) -> Path:
        """Keep a file that cannot be used, as landed or as taken, out of the way, with the reason; its folder."""
        ...

    def pending(self, model: str) -> list[str]:
        """The files that were taken and whose join did not end, in the order in which they came."""
        ...

    def waiting(self, model: str, pending: Sequence[str]) -> "pd.DataFrame":
        """The labels of these files, and all those whose batch was not found yet.

        Columns: event_id, label (0 or 1), label_timestamp, known_at, arrival, file_id.
        """
        ...

    def waiting_rows(self, model: str) -> int: ...

    def looked_at(self, model: str) -> LookedAt: ...

    def keep_waiting(self, model: str, rows: "pd.DataFrame", joined: Sequence[str], sequence: int) -> None:
        """End a join: these rows go on waiting, and the files `joined` are done."""
        ...

    def set_aside(self, model: str, before: datetime) -> int:
        """Look no longer for waiting labels of files that were taken before then; how many. They are kept on disk."""
        ...

    def unmatched_rows(self, model: str) -> int:
        """How many labels were set aside so far."""
        ...

    def holders(self, files: Mapping[str, Path], column: str, event_ids: "pd.Series") -> "pd.DataFrame":
        """Which batches, by their files, hold which of the event ids. Columns: event_id, batch_id."""
        ...

    def merge(self, model: str, batch_id: str, rows: "pd.DataFrame", brought: "pd.Series") -> Overlay:
        """Lay waiting labels over a batch's: the newest wins. Twice changes nothing.

        `brought` are the labels that came with the batch, indexed by event id, NaN where none did.
        """
        ...

    def current(self, model: str, batch_id: str, event_ids: "pd.Series") -> "pd.Series | None":
        """The labels that came for these event ids, in their order, NaN where none did; None when none ever came."""
        ...
