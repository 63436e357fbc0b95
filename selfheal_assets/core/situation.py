"""Everything that a decision depends on, as of one place in the ledger. Never reads the ledger itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from selfheal_assets.core.causes import ON_SERVERS, Action, Cause
from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.incident import Incident, Result
from selfheal_assets.core.record import Record


@dataclass(frozen=True, kw_only=True)
class Heal:
    """A past decision to touch production, and how its run ended."""

    decision: Record
    outcome: Record | None = None
    let_through: datetime | None = None
    """When it was, where a person had to approve it first."""

    @property
    def action(self) -> Action:
        return Action(self.decision.payload["action"])

    @property
    def begun_at(self) -> datetime:
        return self.let_through or self.decision.recorded_at

    @property
    def counts(self) -> bool:
        """Whether it takes from the budget: not the first model, nor a restart, nor a search of the archive that found
        nothing."""
        found_nothing = self.outcome is not None and self.outcome.payload.get("result") == Result.NONE_FITS
        first = self.decision.payload["cause"] == Cause.NO_CHAMPION
        return not first and not found_nothing and self.action not in ON_SERVERS

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end: the wait for an approval is no work."""
        return (self.outcome.recorded_at - self.begun_at).total_seconds() if self.outcome else None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One model, now."""

    now: datetime
    seen: int
    """The ledger's place that all of it is as of."""
    champion_version: str | None
    champion_metric: float | None
    evidence: tuple[Evidence, ...]
    """One statement a signal and batch, the last; bound to the present champion, or to none."""
    learnable: tuple[str, ...]
    """The batches that a retraining would learn from, oldest first."""
    labelled_rows: int
    """In those batches."""
    archived: tuple[str, ...] = ()
    """Other versions that served before."""
    open: tuple[Incident, ...] = ()
    """The incidents that have not ended."""
    ended: tuple[Incident, ...] = ()
    """The last ones that have, newest first."""
    heals: tuple[Heal, ...] = ()
    """The last decisions to touch production that were let through, newest first."""
    approvals: Mapping[str, str] = field(default_factory=dict)
    """APPROVED or REJECTED, by decision id."""
    said_at: Mapping[str, datetime] = field(default_factory=dict)
    """When each of these words was written down, by decision id."""
    switched_off: frozenset[str] = frozenset()
    """Actions that a flag holds back; "*": all of them."""
