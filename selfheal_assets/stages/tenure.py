"""Tell what was measured of a champion in its present term from what was in an earlier one. Never judges either."""

from collections.abc import Iterable

from selfheal_assets.core.evidence import Signal
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger

PROMOTIONS_READ = 100


def began(ledger: Ledger, spec: ModelSpec, version: str | None) -> int:
    """The ledger's place at which the last promotion of the version was decided; 0 where none is known.

    A version that is reinstated begins anew: what was seen of it before was another world. One that serves again
    because its successor was taken back goes on: its successor was made for what had been seen of it.
    """
    promoted = ledger.newest(spec.name, RecordKind.OUTCOME, status=OutcomeStatus.PROMOTED, limit=PROMOTIONS_READ)
    last = next((record.subject for record in promoted if str(record.payload["version"]) == version), None)
    decided = ledger.current(spec.name, RecordKind.DECISION, [last]) if last else {}
    return decided[last].sequence if last in decided else 0


def of_term(records: Iterable[Record], version: str | None, since: int) -> list[Record]:
    """Those of the evidence about the version whose batch it scored after `since`; in the order given.

    By when the batch was scored first, which its drift tells: labels that come late are measured again later.
    """
    about = [record for record in records if record.payload["champion_version"] == version]
    scored: dict[str, int] = {}
    for record in about:
        if record.payload["signal"] == Signal.DRIFT:
            scored[record.subject] = max(record.sequence, scored.get(record.subject, 0))
    return [record for record in about if scored.get(record.subject, record.sequence) > since]
