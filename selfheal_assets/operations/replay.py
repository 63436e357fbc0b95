"""Decide again what the ledger says was decided, by today's core and policy: differences out. Never writes anything."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.reconcile import reconcile
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.situation import gather

PAGE = 500
POLICY = "policy"
"""The fingerprint of the declaration: another one is no other decision."""
NOTHING = "nothing is decided"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One decision that would not be made like this today."""

    decision: Record
    what: dict[str, tuple[Any, Any]]
    """By field: what it was, and what it would be."""


@dataclass(kw_only=True)
class Replay:
    """What came of deciding again."""

    decisions: int = 0
    """That the policy made; what people decided is not decided again."""
    identical: int = 0
    """Byte for byte."""
    another_policy: int = 0
    """The same in all but the fingerprint of the policy."""
    differences: list[Difference] = field(default_factory=list)


def replay(
    ledger: Ledger, models: Sequence[ModelSpec], progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Replay:
    """Gather the situation of each decision as of its place in the ledger, at its time, and decide again.

    `progress` is told, after each decision, how many of how many are done.
    """
    made = [(spec, decision) for spec in models for decision in decisions_of(ledger, spec.name) if by_policy(decision)]
    result = Replay(decisions=len(made))
    for done, (spec, decision) in enumerate(made, start=1):
        what = _difference(ledger, spec, decision)
        if not what:
            result.identical += 1
        elif what.keys() == {POLICY}:
            result.another_policy += 1
        else:
            result.differences.append(Difference(decision=decision, what=what))
        progress(done, len(made))
    return result


def decisions_of(ledger: Ledger, model: str) -> Iterator[Record]:
    """Every decision about the model, oldest first."""
    place = 0
    while page := ledger.after(model, RecordKind.DECISION, place, PAGE):
        yield from page
        place = page[-1].sequence


def by_policy(decision: Record) -> bool:
    """Whether the policy made it: only the policy writes down the place in the ledger that it decided at."""
    return "seen" in decision.payload


def _difference(ledger: Ledger, spec: ModelSpec, then: Record) -> dict[str, tuple[Any, Any]]:
    try:
        return _decided_again(ledger, spec, then)
    except Exception as error:  # Of an earlier version's records anything may be missing: that is a finding, no end.
        return {"it": (_was(then), f"cannot be decided: {type(error).__name__}: {error}")}


def _decided_again(ledger: Ledger, spec: ModelSpec, then: Record) -> dict[str, tuple[Any, Any]]:
    situation = gather(ledger, spec, then.recorded_at, then.payload["seen"])
    step = reconcile(spec, situation)
    today = [record for record in step.records() if record.kind is RecordKind.DECISION]
    now = next((d for d in today if d.key == then.key), None) or next((d for d in today if _about(d, then)), None)
    if now is None:
        return {"it": (_was(then), _instead(step.records(), then))}
    before, after = _comparable(then), _comparable(now)
    names = sorted(before.keys() | after.keys())
    return {n: (before.get(n), after.get(n)) for n in names if _canonical(before.get(n)) != _canonical(after.get(n))}


def _was(then: Record) -> str:
    return f"{then.payload['action']} was {then.status.lower()}"


def _about(one: Record, other: Record) -> bool:
    same: bool = one.payload["incident"] == other.payload["incident"]
    return same


def _instead(records: Sequence[Record], then: Record) -> str:
    """What becomes of the incident where nothing is decided about it."""
    about = [r for r in records if r.kind is RecordKind.INCIDENT and r.subject == then.payload["incident"]]
    return f"{NOTHING}; the incident becomes {about[-1].status}: {about[-1].payload['reason']}" if about else NOTHING


def _comparable(decision: Record) -> dict[str, Any]:
    fields = {"status": str(decision.status), "decision": decision.subject, "key": decision.key}
    return {**fields, **decision.payload}


def _canonical(value: Any) -> str:
    """As the ledger writes it: the same text for the same value."""
    return json.dumps(value, sort_keys=True, default=str, allow_nan=False)
