"""Switch actions off and on at run time: a model, an action and a reason in, FLAG records out. Never stops a run."""

from collections.abc import Sequence
from datetime import datetime

from selfheal_assets.core.causes import TOUCHES_PRODUCTION
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.holds import EVERY_ACTION
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.situation import EVERY_MODEL, OFF

ON = "ON"
LISTED = 200


def flags(ledger: Ledger, models: Sequence[str]) -> list[Record]:
    """The last word on each model and action that was ever switched: those for all models first."""
    return [
        record
        for model in (EVERY_MODEL, *models)
        for record in sorted(
            ledger.recent_subjects(model, RecordKind.FLAG, statuses=[ON, OFF], limit=LISTED), key=lambda r: r.subject
        )
    ]


def switch(
    ledger: Ledger, models: Sequence[str], model: str, action: str, *, on: bool, who: str, reason: str, now: datetime
) -> bool:
    """Record that the action, or "*" for all, is switched for the model, or "*" for all; False when it stood so.

    Raises SpecError for a model that is not declared and for an action that flags do not hold back.
    """
    _check(models, model, action)
    last = ledger.newest(model, RecordKind.FLAG, subject=action)
    status = ON if on else OFF
    if (last[0].status if last else ON) == status:
        return False
    return bool(
        ledger.append(
            Record(
                # After the same word before, so that two people who switch at once do so once.
                key=f"flag:{model}:{action}:{last[0].sequence if last else 0}:{status}",
                model=model,
                kind=RecordKind.FLAG,
                subject=action,
                status=status,
                event_time=now,
                recorded_at=now,
                payload={"who": who, "reason": reason},
            )
        )
    )


def _check(models: Sequence[str], model: str, action: str) -> None:
    if model not in (EVERY_MODEL, *models):
        raise SpecError(
            f"A flag must name a declared model, or '*' for all; received {model!r}. "
            f"Declared are: {', '.join(models) or 'none'}."
        )
    held = sorted(TOUCHES_PRODUCTION)
    if action not in (EVERY_ACTION, *held):
        raise SpecError(
            f"A flag must name an action that touches production, or '*' for all; received {action!r}, which nothing "
            f"holds back. Those are: {', '.join(held)}."
        )
