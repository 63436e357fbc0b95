"""Tell what happened to a model while it happens: the ledger's new records in, a line of words each out."""

from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.wiring import Services


class Teller:
    """Tells each new record of the ledger once, in words."""

    def __init__(self, services: Services, spec: ModelSpec) -> None:
        self._services, self._spec = services, spec
        self._seen = {kind: self._last(kind) for kind in RecordKind}

    def _last(self, kind: RecordKind) -> int:
        newest = self._services.ledger.newest(self._spec.name, kind)
        return newest[0].sequence if newest else 0

    def news(self) -> list[str]:
        records = []
        for kind, seen in self._seen.items():
            found = self._services.ledger.after(self._spec.name, kind, seen, 100)
            records.extend(found)
            self._seen[kind] = max([seen, *(r.sequence for r in found)])
        return [self._words(record) for record in sorted(records, key=lambda r: r.sequence) if _worth_telling(record)]

    @staticmethod
    def _words(record: Record) -> str:
        payload = record.payload
        match record.kind:
            case RecordKind.BATCH_REGISTERED:
                return f"landed     {record.subject}"
            case RecordKind.BATCH_SETTLED:
                return f"checked    {record.subject}: {record.status}, {payload['rows_quarantined']} rows to quarantine"
            case RecordKind.EVIDENCE:
                found = Evidence.from_record(record)
                value = "" if found.value is None else f" {found.value:.3f}"
                return f"measured   {record.subject}: {found.signal}{value} {found.status}"
            case RecordKind.LABELS:
                refused = "".join(f"; refused: {reason}" for reason in payload.get("refused", ()))
                return f"labelled   {record.subject}: {payload['matured']:.0%} of its rows{refused}"
            case RecordKind.INCIDENT:
                hold = f" by {payload['hold']}" if payload["hold"] else ""
                return f"incident   {payload['cause']} {record.status}{hold}: {payload['reason']}"
            case RecordKind.DECISION:
                return f"decided    {payload['cause']} -> {payload['action']} ({record.status.lower()})"
            case RecordKind.ROLLOUT:
                share = f"{payload['weight']:.0%}"
                return f"rollout    {payload['challenger']} {record.status} {share}: {payload['reason']}"
            case RecordKind.BATCH_CLOSED:
                return f"done with  {record.subject}"
            case _:
                return f"ended      {record.subject}: {record.status} {payload.get('reason', '')}"


def _worth_telling(record: Record) -> bool:
    """Of a batch's many measurements: drift and performance, and whatever else was raised."""
    if record.kind is not RecordKind.EVIDENCE:
        return True
    return record.payload["signal"] in (Signal.DRIFT, Signal.PERFORMANCE) or record.status == Status.RAISED
