"""Say which old runs may go: a finished run and what is needed in; why it stays, or None, out. Deletes nothing."""

from dataclasses import dataclass
from enum import StrEnum


class Needed(StrEnum):
    """Why a run that is old enough stays."""

    NEWEST = "it holds the newest materialization of an asset"
    LIVE = "its batch is a live partition"
    OPEN = "its batch, its label file, its decision or its incident is not done"


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A finished run of a model, as its tags tell it."""

    run_id: str
    model: str
    batch_id: str | None = None
    """The last of its partitions: as long as that one is live, some of them may be."""
    decision_id: str | None = None
    label_file: str | None = None


@dataclass(frozen=True, kw_only=True)
class StillNeeded:
    """Of one model."""

    newest_runs: frozenset[str] = frozenset()
    """Of each asset."""
    live: frozenset[str] = frozenset()
    """Partitions."""
    open_batches: frozenset[str] = frozenset()
    label_files: frozenset[str] = frozenset()
    decisions: frozenset[str] = frozenset()
    """Without an outcome, or of an incident that has not ended."""


def needed_for(run: EndedRun, needed: StillNeeded) -> Needed | None:
    """Why the run stays. One that is forgotten could be asked for again: what is not done keeps its runs."""
    if run.batch_id in needed.open_batches or run.decision_id in needed.decisions:
        return Needed.OPEN
    if run.label_file in needed.label_files:
        return Needed.OPEN
    if run.run_id in needed.newest_runs:
        return Needed.NEWEST
    return Needed.LIVE if run.batch_id in needed.live else None
