"""A batch's rows, had as they are needed: whole columns, or all columns a part at a time. Never imports an adapter."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PART_ROWS = 200_000
"""Rows that are held with all their columns at once. A batch of no more is one part, and is read whole."""


class BatchRows(Protocol):
    """The rows of one batch, in their order. Every frame that comes out is numbered from 0."""

    @property
    def columns(self) -> list[str]: ...

    def __len__(self) -> int: ...

    def select(self, columns: Sequence[str], missing: Sequence[str] = ()) -> "BatchRows":
        """The same rows with these columns, and with columns beside them that hold nothing but NaN."""
        ...

    def frame(self, columns: Sequence[str] | None = None, *, arrow_texts: bool = False) -> "pd.DataFrame":
        """All rows of these columns, or of all. `arrow_texts`: texts as Arrow's, a fifth of what Python's take."""
        ...

    def parts(self, columns: Sequence[str] | None = None) -> "Iterator[pd.DataFrame]":
        """The rows by parts of `PART_ROWS` at most, in order; a batch without rows is one part."""
        ...

    def at(self, positions: "np.ndarray", columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """The rows at these places, counted from 0, in the order asked; never the whole batch to find them."""
        ...


class FrameRows:
    """Rows that are in memory anyway."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        self._frame = frame

    @property
    def columns(self) -> list[str]:
        return list(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def select(self, columns: Sequence[str], missing: Sequence[str] = ()) -> "FrameRows":
        return FrameRows(self._frame[list(columns)].assign(**dict.fromkeys(missing, float("nan"))))

    def frame(self, columns: Sequence[str] | None = None, *, arrow_texts: bool = False) -> "pd.DataFrame":  # noqa: ARG002
        chosen = self._frame if columns is None else self._frame[list(columns)]
        return chosen.reset_index(drop=True)

    def parts(self, columns: Sequence[str] | None = None) -> "Iterator[pd.DataFrame]":
        whole = self.frame(columns)
        for start in range(0, max(len(whole), 1), PART_ROWS):
            yield whole.iloc[start : start + PART_ROWS].reset_index(drop=True)

    def at(self, positions: "np.ndarray", columns: Sequence[str] | None = None) -> "pd.DataFrame":
        return self.frame(columns).iloc[positions].reset_index(drop=True)
