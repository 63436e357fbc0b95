"""A model's life in a few words: evidence, outcomes and words of people in, what the core makes of them out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from selfheal_assets.adapters.in_memory import InMemoryLedger
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal, Status
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, PolicySpec
from selfheal_assets.core.reconcile import Step, reconcile
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.situation import Situation
from selfheal_assets.stages.situation import gather

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
BATCH = timedelta(hours=1)


def spec(**policy: Any) -> ModelSpec:
    base = ModelSpec(
        name="m",
        description="a model",
        owners=("team:a",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("who",)),
        features=FeaturesSpec(service="s"),
    )
    declared = {"cooldown_minutes": 0.0, **policy}
    return replace(base, policy=PolicySpec(**declared))


class Life:
    """One model over an in-memory ledger, with a clock that moves a batch at a time."""

    def __init__(self, model: ModelSpec, *, champion: str | None = "1") -> None:
        self.spec = model
        self.ledger = InMemoryLedger()
        self.now = BEGIN
        self.batch = 0
        self.champion = champion
        if champion is not None:
            self.outcome("archived", OutcomeStatus.PROMOTED, version="0")
            self.outcome("bootstrap", OutcomeStatus.PROMOTED, version=champion)

    def see(self, batch: int | None = None, **statuses: Status | tuple[Status, float]) -> "Life":
        """The next batch arrives, is clean and learnable, and shows these signals; then the core takes a step."""
        self.arrive(batch, **statuses)
        self.step()
        return self

    def arrive(self, batch: int | None = None, **statuses: Status | tuple[Status, float]) -> None:
        if batch is None:
            self.batch += 1
            batch = self.batch
        self.now = max(self.now, BEGIN) + BATCH
        name = f"b{batch:03}"
        at = BEGIN + batch * BATCH
        self._record(RecordKind.BATCH_SETTLED, name, "CLEAN", at, rows_clean=1000, labelled_rows=1000)
        self._record(RecordKind.BATCH_CLOSED, name, "CLOSED", at)
        for signal, said in statuses.items():
            status, value = said if isinstance(said, tuple) else (said, 0.3)
            self.evidence(Signal(signal), status, name, at, value)

    def evidence(self, signal: Signal, status: Status, batch: str, at: datetime, value: float = 0.3) -> None:
        found = Evidence(
            model=self.spec.name,
            signal=signal,
            status=status,
            batch_id=batch,
            champion_version=None if signal in UNBOUND else self.champion,
            event_time=at,
            value=value,
            threshold=0.2,
            sample_size=1000,
            reason=f"{signal} {status}",
            strength=value / 0.2,
            details={"champion_metric": 0.9} if signal is Signal.PERFORMANCE else {},
        )
        self.ledger.append(found.to_record(self.now, self.ledger.head().sequence))

    def outcome(
        self, decision: str, status: OutcomeStatus, *, version: str | None = None, result: str | None = None
    ) -> "Life":
        payload = {"version": version, "reason": str(status).lower(), "metric": 0.9, "result": result}
        self._record(RecordKind.OUTCOME, decision, status, self.now, **payload)
        if version is not None and status in (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK):
            self.champion = version
        return self

    def promote(self, version: str) -> "Life":
        """The run of the healing incident ends well."""
        return self.outcome(self.healing.tried[-1].decision_id, OutcomeStatus.PROMOTED, version=version)

    def refuse(self, result: str = "refused") -> "Life":
        return self.outcome(self.healing.tried[-1].decision_id, OutcomeStatus.REFUSED, result=result)

    def say(self, kind: RecordKind, subject: str, status: str, model: str | None = None) -> "Life":
        self._record(kind, subject, status, self.now, model=model)
        return self

    def situation(self) -> Situation:
        return gather(self.ledger, self.spec, self.now)

    def step(self) -> Step:
        made = reconcile(self.spec, self.situation())
        self.ledger.append(*made.records())
        return made

    def settle(self) -> "Life":
        """Steps until one changes nothing."""
        for _ in range(20):
            if not self.step().records():
                return self
        raise AssertionError("the core does not come to rest")

    def _record(
        self, kind: RecordKind, subject: str, status: str, at: datetime, model: str | None = None, **payload: Any
    ) -> None:
        self.ledger.append(
            Record(
                key=f"{kind}:{subject}:{self.ledger.head().sequence}",
                model=model or self.spec.name,
                kind=kind,
                subject=subject,
                status=status,
                event_time=at,
                recorded_at=self.now,
                payload=payload,
            )
        )

    @property
    def incidents(self) -> dict[Cause, Incident]:
        """The newest of each cause, ended ones included."""
        return {incident.cause: incident for incident in self.every()}

    def every(self, *causes: Cause) -> list[Incident]:
        """In the order of opening, as of their last transitions."""
        last: dict[str, Incident] = {}
        for record in self.ledger.after(self.spec.name, RecordKind.INCIDENT, 0, 10_000):
            last[record.subject] = Incident.from_record(record)
        return [incident for incident in last.values() if not causes or incident.cause in causes]

    @property
    def healing(self) -> Incident:
        return next(i for i in self.incidents.values() if i.state is IncidentState.HEALING)

    def state(self, cause: Cause) -> IncidentState | None:
        return self.incidents[cause].state if cause in self.incidents else None

    def decisions(self, *actions: Action) -> list[Record]:
        every = self.ledger.after(self.spec.name, RecordKind.DECISION, 0, 10_000)
        return [record for record in every if not actions or record.payload["action"] in actions]
