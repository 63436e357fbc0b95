"""An incident and its state machine: one episode for one model and one cause. Never writes anything."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.record import Record, RecordKind


class IncidentState(StrEnum):
    OPEN = "OPEN"
    """Something was raised; no rule names its cause yet."""
    DIAGNOSED = "DIAGNOSED"
    """Its cause has a name, and an action is due."""
    HEALING = "HEALING"
    """A run carries out its decision."""
    VERIFYING = "VERIFYING"
    """It was acted on; its own signals have not been seen clear since."""
    SUPPRESSED = "SUPPRESSED"
    """An action is due, and held back: by autonomy, budget, cooldown, cost, a flag, or for an approval."""
    RESOLVED = "RESOLVED"
    """Its own signals were seen clear, or another incident accounts for its evidence."""
    ROLLED_BACK = "ROLLED_BACK"
    """What healed it was itself taken back as a bad release; or a rollout took a bad release back by itself."""
    ESCALATED = "ESCALATED"
    """Nothing is left that the policy may try: a person must look. Only recovery or a person closes it."""


_S = IncidentState
TRANSITIONS: Mapping[IncidentState, frozenset[IncidentState]] = {
    _S.OPEN: frozenset({_S.OPEN, _S.DIAGNOSED, _S.RESOLVED}),
    _S.DIAGNOSED: frozenset(
        {_S.DIAGNOSED, _S.HEALING, _S.VERIFYING, _S.SUPPRESSED, _S.RESOLVED, _S.ESCALATED, _S.ROLLED_BACK}
    ),
    _S.SUPPRESSED: frozenset({_S.SUPPRESSED, _S.HEALING, _S.VERIFYING, _S.RESOLVED, _S.ESCALATED}),
    _S.HEALING: frozenset({_S.HEALING, _S.VERIFYING, _S.DIAGNOSED, _S.ESCALATED}),
    _S.VERIFYING: frozenset({_S.VERIFYING, _S.RESOLVED, _S.DIAGNOSED, _S.ROLLED_BACK, _S.ESCALATED}),
    _S.ESCALATED: frozenset({_S.ESCALATED, _S.RESOLVED}),
    _S.RESOLVED: frozenset(),
    _S.ROLLED_BACK: frozenset(),
}
"""A state that leads to itself: new evidence joined."""
ENDED = frozenset(state for state, following in TRANSITIONS.items() if not following)
OPEN_STATES = tuple(state for state in IncidentState if state not in ENDED)


class OutcomeStatus(StrEnum):
    """How the run of a decision ended."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    """The gate did not pass, or nothing fitted; the champion stays."""
    ROLLED_BACK = "ROLLED_BACK"
    """The champion was taken back; the version named serves again."""
    RESTARTED = "RESTARTED"
    """The server processes at fault were replaced; the champion stayed."""
    FAILED = "FAILED"
    """The run crashed more often than it may be tried."""


class Result(StrEnum):
    """What came of one thing that was tried."""

    AWAITING = "awaiting"
    """A person must approve it."""
    UNDER_WAY = "under way"
    """Its run was asked for, and has not ended."""
    ACTED = "acted"
    """Done; whether it helped is being verified."""
    VERIFIED = "verified"
    """Its signals were clear afterwards."""
    NONE_FITS = "none fits"
    """There was nothing to reinstate: no failure, the next alternative's turn."""
    REFUSED = "refused"
    """A gate did not pass."""
    FAILED = "failed"
    """Its run crashed as often as it may be tried."""
    NOT_VERIFIED = "not verified"
    """It was done, and the signals were not clear on as many batches as it has to show it."""
    UNVERIFIABLE = "unverifiable"
    """It was done, and nothing was measured in time that could say whether it helped."""
    ROLLED_BACK = "rolled back"
    """The version that came of it was taken back."""
    DECLINED = "declined"
    """A person rejected it, or nobody approved in time."""


FAILURES = frozenset({Result.REFUSED, Result.FAILED, Result.NOT_VERIFIED, Result.ROLLED_BACK})


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One alternative that was decided."""

    action: Action
    decision_id: str
    decided_at: datetime
    """By the policy; once a person had to approve it and did, when it was let through."""
    result: Result = Result.UNDER_WAY
    version: str | None = None
    """The version that serves because of it."""


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One episode, as of its last transition."""

    id: str
    model: str
    cause: Cause
    state: IncidentState
    reason: str
    """Of the last transition."""
    opened_at: datetime
    batch_ids: tuple[str, ...]
    """Whose evidence it is made of, oldest first."""
    champion_version: str | None
    """That served when it opened."""
    newest_event: datetime | None = None
    """The event time of the newest evidence that it is made of."""
    step: int = 0
    """Number of the transition."""
    tried: tuple[Attempt, ...] = ()
    hold: str | None = None
    """What holds its action back while it is SUPPRESSED."""
    diagnosis: str = ""
    features: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    began_at: str | None = None
    drop: float | None = None
    before: float | None = None
    """The champion's own metric."""
    after: float | None = None
    """The metric on the batch that verified it."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def to(self, state: IncidentState, reason: str, **changes: Any) -> "Incident":
        """The next transition; SelfhealError for one that the machine does not have."""
        if state not in TRANSITIONS[self.state]:
            raise SelfhealError(
                f"An incident that is {self.state} may become {sorted(TRANSITIONS[self.state]) or 'nothing'}; "
                f"received {state} for {self.id}. Report this as a defect."
            )
        return replace(self, state=state, reason=reason, step=self.step + 1, **changes)

    def with_result(self, result: Result, version: str | None = None) -> tuple[Attempt, ...]:
        """`tried`, with the last attempt's result."""
        last = self.tried[-1]
        return (*self.tried[:-1], replace(last, result=result, version=version or last.version))

    def to_record(self, now: datetime) -> Record:
        payload = asdict(self)
        for promoted in ("id", "model", "state"):
            del payload[promoted]
        return Record(
            key=f"incident:{self.id}:{self.step}",
            model=self.model,
            kind=RecordKind.INCIDENT,
            subject=self.id,
            status=self.state,
            event_time=now,
            recorded_at=now,
            payload={
                **payload,
                "opened_at": self.opened_at.isoformat(),
                "newest_event": self.newest_event.isoformat() if self.newest_event else None,
                "batch_ids": list(self.batch_ids),
                "features": list(self.features),
                "slices": list(self.slices),
                "tried": [{**attempt, "decided_at": attempt["decided_at"].isoformat()} for attempt in payload["tried"]],
            },
        )

    @classmethod
    def from_record(cls, record: Record) -> "Incident":
        """Read back what `to_record` wrote."""
        payload = dict(record.payload)
        lists: dict[str, Any] = {name: tuple(payload.pop(name)) for name in ("batch_ids", "features", "slices")}
        newest = payload.pop("newest_event")
        return cls(
            id=record.subject,
            model=record.model,
            state=IncidentState(record.status),
            cause=Cause(payload.pop("cause")),
            opened_at=datetime.fromisoformat(payload.pop("opened_at")),
            newest_event=datetime.fromisoformat(newest) if newest else None,
            tried=tuple(_attempt(row) for row in payload.pop("tried")),
            **lists,
            **payload,
        )


def _attempt(row: Mapping[str, Any]) -> Attempt:
    return Attempt(
        action=Action(row["action"]),
        decision_id=row["decision_id"],
        decided_at=datetime.fromisoformat(row["decided_at"]),
        result=Result(row["result"]),
        version=row["version"],
    )


def incident_id(model: str, cause: Cause, seen: int) -> str:
    """Twelve hexadecimal digits, from the ledger's place at which it opened and never from a clock."""
    return hashlib.sha256(f"{model}|{cause}|{seen}".encode()).hexdigest()[:12]
