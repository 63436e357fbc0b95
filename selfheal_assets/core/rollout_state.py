"""A rollout as of its last transition, and its way to the ledger and back. Never decides a transition."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.rollout_look import ArmCounts, Look


class RolloutState(StrEnum):
    SHADOW = "SHADOW"
    """Both score; the champion answers."""
    STEP = "STEP"
    """The challenger answers its weight; with weight 1 everybody, and the champion still scores beside it."""
    BAKE = "BAKE"
    """The challenger has the champion's alias; the champion stands by."""
    PROMOTED = "PROMOTED"
    ABORTED = "ABORTED"
    """The champion answers, and has the alias."""


_S = RolloutState
TRANSITIONS: Mapping[RolloutState, frozenset[RolloutState]] = {
    _S.SHADOW: frozenset({_S.SHADOW, _S.STEP, _S.BAKE, _S.ABORTED}),
    _S.STEP: frozenset({_S.STEP, _S.BAKE, _S.ABORTED}),
    _S.BAKE: frozenset({_S.BAKE, _S.PROMOTED, _S.ABORTED}),
    _S.PROMOTED: frozenset(),
    _S.ABORTED: frozenset(),
}
"""A state that leads to itself: paused, resumed, begun anew, or the next step."""
ENDED = frozenset(state for state, following in TRANSITIONS.items() if not following)
UNDER_WAY = tuple(state for state in RolloutState if state not in ENDED)
_MOMENTS = ("opened_at", "step_since", "deadline", "changed_at")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One challenger on its way, as of its last transition."""

    id: str
    """That of the decision that it carries out."""
    model: str
    champion: str
    challenger: str
    """Versions."""
    state: RolloutState
    reason: str
    """Of the last transition."""
    opened_at: datetime
    step_since: datetime
    """When the present period began."""
    deadline: datetime
    """When it ends by `on_timeout`."""
    changed_at: datetime
    """When the last transition was."""
    expected_distance: float = 0.0
    """Between the scores of both, where the challenger was judged before."""
    weight: float = 0.0
    """The challenger's share of the requests."""
    step: int = 0
    """How often the weight was raised."""
    transition: int = 0
    """Number of the last transition."""
    verdict: Verdict = Verdict.INCONCLUSIVE
    """Of the look that made the last transition, or of the last one before a person did."""
    results: tuple[GateResult, ...] = ()
    began: Look = field(default_factory=Look)
    """The counts when the present period began, without labelled rows."""
    reference: ArmCounts = field(default_factory=ArmCounts)
    """The champion's counts in the periods before: what a bake, in which it scores nothing, is compared with."""
    paused_at: datetime | None = None
    """Since when a person holds it."""
    ended_by: str | None = None
    """Who ended it before the judge did."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def rejected(self) -> bool:
        """Whether the judge found the challenger worse: it is not tried again."""
        return self.state is RolloutState.ABORTED and self.verdict is Verdict.FAIL

    def to(self, state: RolloutState, reason: str, now: datetime, **changes: Any) -> "Rollout":
        """The next transition; RolloutError for one that the machine does not have."""
        if state not in TRANSITIONS[self.state]:
            raise RolloutError(
                f"A rollout that is {self.state} may become {sorted(TRANSITIONS[self.state]) or 'nothing'}; received "
                f"{state} for {self.id}. Look at `selfheal rollout status`."
            )
        following = replace(self, state=state, reason=reason, changed_at=now, transition=self.transition + 1)
        return replace(following, **changes)

    def to_record(self) -> Record:
        """The key is the transition's, so that writing it down twice changes nothing."""
        payload = asdict(self)
        for promoted in ("id", "model", "state"):
            del payload[promoted]
        moments = {name: payload[name].isoformat() for name in _MOMENTS}
        return Record(
            key=f"rollout:{self.id}:{self.transition}",
            model=self.model,
            kind=RecordKind.ROLLOUT,
            subject=self.id,
            status=self.state,
            event_time=self.changed_at,
            recorded_at=self.changed_at,
            payload={
                **payload,
                **moments,
                "paused_at": self.paused_at.isoformat() if self.paused_at else None,
                "results": [_stored(result) for result in self.results],
                "began": [self.began.champion.to_payload(), self.began.challenger.to_payload()],
                "reference": self.reference.to_payload(),
            },
        )

    @classmethod
    def from_record(cls, record: Record) -> "Rollout":
        """Read back what `to_record` wrote. Raises RolloutError for a record that it did not write."""
        try:
            return cls(**_loaded(record))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RolloutError(
                f"A rollout's record must be one that this version of selfheal wrote; received {record.key} "
                f"({error!r}). Abort the rollout, or run the version that wrote it."
            ) from error


def _stored(result: GateResult) -> dict[str, Any]:
    return {**asdict(result), "interval": list(result.interval) if result.interval else None}


def _loaded(record: Record) -> dict[str, Any]:
    """The fields of a rollout."""
    payload = dict(record.payload)
    paused_at = payload.pop("paused_at")
    champion, challenger = (ArmCounts.from_payload(counts) for counts in payload.pop("began"))
    return {
        "id": record.subject,
        "model": record.model,
        "state": RolloutState(record.status),
        "verdict": Verdict(payload.pop("verdict")),
        **{name: datetime.fromisoformat(payload.pop(name)) for name in _MOMENTS},
        "paused_at": datetime.fromisoformat(paused_at) if paused_at else None,
        "results": tuple(_result(found) for found in payload.pop("results")),
        "began": Look(champion=champion, challenger=challenger),
        "reference": ArmCounts.from_payload(payload.pop("reference")),
        **payload,
    }


def _result(stored: Mapping[str, Any]) -> GateResult:
    interval = tuple(stored["interval"]) if stored["interval"] else None
    return GateResult(**{**stored, "verdict": Verdict(stored["verdict"]), "interval": interval})
