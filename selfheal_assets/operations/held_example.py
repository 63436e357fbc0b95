"""Ask the core what it says about an action that everything speaks against, one objection after another. Never acts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.holds import Held, Hold, held_back, needs_approval
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, Result
from selfheal_assets.core.model_spec import CostSpec, DataSpec, FeaturesSpec, ModelSpec, PolicySpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.situation import Heal, Situation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEARNED = ("b001", "b002")
HARMED = ("b003", "b004")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An incident whose retraining is due."""

    spec: ModelSpec
    incident: Incident
    situation: Situation

    def but(self, **changes: Any) -> "Case":
        """With another situation."""
        return replace(self, situation=replace(self.situation, **changes))

    def under(self, **policy: Any) -> "Case":
        """With another policy."""
        return replace(self, spec=replace(self.spec, policy=replace(self.spec.policy, **policy)))


def objections() -> Iterator[Held]:
    """Each thing that speaks against an action, in the order in which they are asked, in the core's own words.

    Against a retraining all but two: a restart has one in its place, a moved share of labels without harm the other.
    """
    case = _everything_against_it()
    while held := held_back(case.spec, case.incident, Action.RETRAIN, case.situation):
        if held.hold is Hold.NO_LABELS:
            harmless = replace(case.incident, cause=Cause.PRIOR_SHIFT)
            others = ((case.incident, Action.RESTART), (harmless, Action.RETRAIN))
            yield from filter(None, [held_back(case.spec, one, act, case.situation) for one, act in others])
        yield held
        case = _lifted(case, held.hold)
    distrusted = needs_approval(case.spec, case.situation)
    asked = needs_approval(case.under(autonomy="recommend").spec, case.situation)
    yield from (Held(hold=Hold.APPROVAL, reason=words) for words in (asked, distrusted) if words)


def _lifted(case: Case, hold: Hold) -> Case:
    lifted = LIFTS[hold](case) if hold in LIFTS else case
    if lifted == case:
        raise SelfhealError(
            f"The example of the policy document must know what lifts every hold; received {hold}, which it does not. "
            "Add it to LIFTS in operations/held_example.py."
        )
    return lifted


LIFTS: Mapping[Hold, Callable[[Case], Case]] = {
    Hold.FLAG: lambda case: case.but(switched_off=frozenset()),
    Hold.AUTONOMY: lambda case: case.under(autonomy="heal"),
    Hold.NO_NEW_DATA: lambda case: case.but(learnable=(*case.situation.learnable, "b005")),
    Hold.NO_LABELS: lambda case: case.but(learnable=(*case.situation.learnable, *HARMED)),
    Hold.EVIDENCE: lambda case: replace(
        case, incident=replace(case.incident, batch_ids=tuple(f"b{number:03}" for number in range(3, 10)))
    ),
    Hold.COOLDOWN: lambda case: case.but(now=case.situation.now + timedelta(hours=1)),
    Hold.BUDGET: lambda case: case.but(now=case.situation.now + timedelta(days=1)),
    Hold.COST: lambda case: replace(case, spec=replace(case.spec, cost=CostSpec())),
}


def example_spec() -> ModelSpec:
    """A declaration that leaves everything to its default."""
    return ModelSpec(
        name="m",
        description="An example.",
        owners=("team:example",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("who",)),
        features=FeaturesSpec(service="s"),
    )


def _everything_against_it() -> Case:
    policy, attempts = PolicySpec(autonomy="observe"), [_failed(number) for number in range(4)]
    spec = replace(example_spec(), policy=policy, cost=CostSpec(value_per_unit_day=10.0, per_heal=50.0))
    failed = replace(_incident("before", LEARNED), tried=tuple(attempts), state=IncidentState.ESCALATED)
    situation = Situation(
        now=NOW,
        seen=1,
        champion_version="1",
        champion_metric=0.87,
        evidence=(),
        learnable=LEARNED,
        labelled_rows=5_000,
        ended=(failed,),
        heals=tuple(_heal(attempt) for attempt in attempts),
        switched_off=frozenset({Action.RETRAIN}),
    )
    return Case(spec=spec, incident=_incident("now", HARMED), situation=situation)


def _incident(name: str, batch_ids: tuple[str, ...]) -> Incident:
    return Incident(
        id=name,
        model="m",
        cause=Cause.HARMFUL_DRIFT,
        state=IncidentState.DIAGNOSED,
        reason="",
        opened_at=NOW,
        batch_ids=batch_ids,
        champion_version="1",
        drop=0.1,
    )


def _failed(number: int) -> Attempt:
    """A heal of the last hours that did not help; the newest is ten minutes old."""
    at = NOW - timedelta(hours=number, minutes=10)
    return Attempt(action=Action.RETRAIN, decision_id=f"d{number}", decided_at=at, result=Result.NOT_VERIFIED)


def _heal(attempt: Attempt) -> Heal:
    at = attempt.decided_at
    payload = {"action": attempt.action, "cause": Cause.HARMFUL_DRIFT, "training_batches": list(LEARNED)}
    decision = Record(
        key=attempt.decision_id,
        model="m",
        kind=RecordKind.DECISION,
        subject=attempt.decision_id,
        status="DECIDED",
        event_time=at,
        recorded_at=at,
        payload=payload,
    )
    ended = replace(decision, kind=RecordKind.OUTCOME, recorded_at=at + timedelta(minutes=6))
    return Heal(decision=decision, outcome=ended)
