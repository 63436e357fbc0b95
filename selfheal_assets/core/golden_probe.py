"""Tell a version by its files and answers: both in, a JSON document out and back. Never scores anything itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import ServingError

DOCUMENT = "golden_probe"
"""The name under which a registry keeps it with a version."""
ROWS = 20
TOLERANCE = 1e-6
"""How far a score may lie from the one that was kept. Unit: probability."""


@dataclass(frozen=True, kw_only=True)
class GoldenProbe:
    """What a version was when it was validated: its files, and its answers to a few rows."""

    columns: Mapping[str, Sequence[Any]]
    """Features by name; numbers, texts, booleans, and None where one is missing."""
    scores: Sequence[float]
    """(rows,)"""
    files: Mapping[str, str]
    """SHA-256 of each of the version's files, by name, in hexadecimal: XGBoost may crash the process that loads a
    damaged one, or keep it busy for ever."""

    def document(self) -> dict[str, Any]:
        """As JSON can hold it: what is not a finite number or a text is missing, to the model too."""
        return {
            "columns": {name: [_plain(value) for value in values] for name, values in self.columns.items()},
            "scores": [float(score) for score in self.scores],
            "files": dict(self.files),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> "GoldenProbe":
        """Raises ServingError for anything that is not a probe with a row and a file at least."""
        said: Mapping[str, Any] = document or {}
        if _is_table(said.get("columns"), said.get("scores")) and _is_text_by_text(said.get("files")):
            return cls(columns=said["columns"], scores=said["scores"], files=said["files"])
        received = "none" if document is None else f"{str(document)[:200]!r}"
        raise ServingError(
            f"a version must have a golden probe, rows with their scores, kept at its validation; received {received}. "
            "Validate the version, or train another."
        )

    def contradiction(self, scores: npt.ArrayLike) -> str | None:
        """How these scores of the same rows differ from those that were kept; None when they do not.

        NaN differs from everything.
        """
        given = np.asarray(scores, dtype=float)
        if given.shape != (len(self.scores),):
            return f"{given.size} scores for {len(self.scores)} rows"
        distance = np.abs(given - np.asarray(self.scores, dtype=float))
        wrong = ~(distance <= TOLERANCE)
        if not wrong.any():
            return None
        row = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
        return (
            f"{int(wrong.sum())} of {given.size} scores differ; in row {row} {given[row]} stands for {self.scores[row]}"
        )


def _is_table(columns: Any, scores: Any) -> bool:
    if not isinstance(columns, dict) or not isinstance(scores, list) or not scores:
        return False
    aligned = all(isinstance(values, list) and len(values) == len(scores) for values in columns.values())
    return aligned and all(isinstance(score, float | int) for score in scores)


def _is_text_by_text(files: Any) -> bool:
    return (
        isinstance(files, dict)
        and bool(files)
        and all(isinstance(part, str) for pair in files.items() for part in pair)
    )


def _plain(value: Any) -> Any:
    """A Python value that JSON keeps exactly, or None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str | int) else None
