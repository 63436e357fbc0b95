"""Stand in for the ledger, the registry, the notifier and servers in tests and trials. Never outlives its process."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from selfheal_assets.adapters.ledger_payload import past_is_read_only, stored_form
from selfheal_assets.core.errors import AliasConflictError, RegistryError
from selfheal_assets.core.ledger_chain import GENESIS, Head, Link, next_hash
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Delivered, Severity
from selfheal_assets.core.record import OPENING, Record, RecordKind
from selfheal_assets.core.server_reading import ServingStatus
from selfheal_assets.durable import replaced
from selfheal_assets.ports import Candidate, Model, ModelVersion, Release, Restart, RestartState


class InMemoryLedger:
    """The `Ledger` port in a list. A payload comes back as JSON makes it, as from the database."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def append(self, *records: Record) -> int:
        copies = [stored_form(record) for record in records]
        with self._lock:
            before = len(self._records)
            for record in copies:
                if record.key not in self._keys:
                    self._keys.add(record.key)
                    head = self.head()
                    chained = next_hash(head.hash, record)
                    self._records.append(replace(record, sequence=head.sequence + 1, hash=chained))
            return len(self._records) - before

    def _visible(self) -> list[Record]:
        return self._records

    def _of(self, model: str, kind: RecordKind) -> list[Record]:
        return [record for record in self._visible() if record.model == model and record.kind == kind]

    def newest(
        self, model: str, kind: RecordKind, *, subject: str | None = None, status: str | None = None, limit: int = 1
    ) -> list[Record]:
        found = [
            record
            for record in reversed(self._of(model, kind))
            if subject in (None, record.subject) and status in (None, record.status)
        ]
        return found[:limit]

    def after(self, model: str, kind: RecordKind, sequence: int, limit: int) -> list[Record]:
        return [record for record in self._of(model, kind) if record.sequence > sequence][:limit]

    def current(self, model: str, kind: RecordKind, subjects: Sequence[str]) -> dict[str, Record]:
        return {record.subject: record for record in self._of(model, kind) if record.subject in subjects}

    def recent_subjects(self, model: str, kind: RecordKind, *, statuses: Sequence[str], limit: int) -> list[Record]:
        last = {record.subject: record for record in self._of(model, kind)}
        found = [record for record in last.values() if record.status in statuses]
        return sorted(found, key=lambda record: (record.event_time, record.sequence), reverse=True)[:limit]

    def open_batches(self, model: str, limit: int) -> list[Record]:
        closed = {record.subject: record.sequence for record in self._of(model, RecordKind.BATCH_CLOSED)}
        opened = {record.subject: record.sequence for kind in OPENING for record in self._of(model, kind)}
        registered = {record.subject: record for record in self._of(model, RecordKind.BATCH_REGISTERED)}
        latest = {subject: max(opened[subject], record.sequence) for subject, record in registered.items()}
        found = [record for subject, record in registered.items() if latest[subject] > closed.get(subject, 0)]
        return sorted(found, key=lambda record: (record.event_time, record.sequence))[:limit]

    def all_after(self, sequence: int, limit: int) -> list[Record]:
        return list(islice((record for record in self._visible() if record.sequence > sequence), limit))

    def links(self, sequence: int, limit: int) -> list[Link]:
        return [Link(record.sequence, record.hash, record) for record in self.all_after(sequence, limit)]

    def head(self) -> Head:
        visible = self._visible()
        last = visible[-1] if visible else None
        return Head(last.sequence, last.hash, last.sequence) if last else Head(0, GENESIS, 0)

    def as_of(self, sequence: int) -> "InMemoryLedger":
        return _EarlierInMemoryLedger(self, sequence)


class _EarlierInMemoryLedger(InMemoryLedger):
    """What another ledger had when it wrote its record `until`."""

    def __init__(self, ledger: InMemoryLedger, until: int) -> None:
        super().__init__()
        self._ledger = ledger
        self._until = until

    def append(self, *records: Record) -> int:  # noqa: ARG002 - the port's signature
        raise past_is_read_only(self._until)

    def _visible(self) -> list[Record]:
        return [record for record in self._ledger._visible() if record.sequence <= self._until]


@dataclass(frozen=True)
class Notice:
    model: str
    title: str
    body: str
    incident: str | None = None
    severity: Severity = Severity.INFO


class InMemoryNotifier:
    """The `Notifier` port; remembers what people would have been told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(
        self,
        model: str,
        title: str,
        body: str,
        *,
        incident: str | None = None,
        severity: Severity = Severity.INFO,
    ) -> None:
        self.notices.append(Notice(model, title, body, incident, severity))

    def deliver(self) -> Delivered:
        return Delivered()


class InMemoryRegistry:
    """The `ModelRegistry` port; keeps models as objects, and their files under `root` for those who ask for them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._versions: dict[str, list[ModelVersion]] = {}
        self._models: dict[tuple[str, str], Model] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._lock = threading.RLock()

    def register(self, spec: ModelSpec, model: Model, candidate: Candidate) -> ModelVersion:
        with self._lock:
            known = self._versions.setdefault(spec.name, [])
            for version in known:
                if version.tags["decision_id"] == candidate.decision_id:
                    return self._with_aliases(version)
            number = str(len(known) + 1)
            metrics = {f"metric.{name}": repr(float(value)) for name, value in candidate.metrics.items()}
            version = ModelVersion(
                model=spec.name,
                version=number,
                run_id=f"run-{spec.name}-{number}",
                tags={
                    **candidate.origin,
                    "decision_id": candidate.decision_id,
                    "data_hash": candidate.data_hash,
                    "spec_fingerprint": spec.fingerprint(),
                    "batch_ids": json.dumps(list(candidate.batch_ids)),
                    **metrics,
                },
                created_at=datetime.now(UTC),
            )
            known.append(version)
            self._models[spec.name, number] = model
            self._aliases[spec.name, "challenger"] = number
            return self._with_aliases(version)

    def by_alias(self, model: str, alias: str) -> ModelVersion | None:
        with self._lock:
            on = self._aliases.get((model, alias))
            return None if on is None else self._with_aliases(self._find(model, on))

    def versions(self, model: str) -> list[ModelVersion]:
        with self._lock:
            return [self._with_aliases(version) for version in reversed(self._versions.get(model, []))]

    def load(self, version: ModelVersion) -> Model:
        self._find(version.model, version.version)
        return self._models[version.model, version.version]

    def folder(self, version: ModelVersion) -> Path:
        folder = self._root / version.model / version.version
        if not folder.exists():
            self.load(version).save(folder)
        return folder

    def keep(self, version: ModelVersion, name: str, document: Mapping[str, Any]) -> None:
        with replaced(self.folder(version) / f"{name}.json") as draft:
            draft.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")

    def kept(self, version: ModelVersion, name: str) -> dict[str, Any] | None:
        file = self.folder(version) / f"{name}.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def move_alias(self, model: str, alias: str, version: str, *, expected: str | None) -> None:
        with self._lock:
            current = self._aliases.get((model, alias))
            if current == version:
                return
            if current != expected:
                raise AliasConflictError(
                    f"alias {alias!r} of {model!r} must be on version {expected or 'none'} to be moved to {version}; "
                    f"received a registry where it is on {current or 'none'}. Read the aliases and decide again."
                )
            self._find(model, version)
            self._aliases[model, alias] = version

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        with self._lock:
            found = self._find(version.model, version.version)
            known = self._versions[version.model]
            known[known.index(found)] = replace(found, tags={**found.tags, **tags})

    def link(self, version: ModelVersion) -> str:
        return f"memory://{version.model}/{version.version}"

    def _find(self, model: str, version: str) -> ModelVersion:
        for known in self._versions.get(model, []):
            if known.version == version:
                return known
        raise RegistryError(
            f"a version must be registered before it is used; received {model} version {version}, which is not. "
            "Register it first."
        )

    def _with_aliases(self, version: ModelVersion) -> ModelVersion:
        place = (version.model, version.version)
        names = [alias for (model, alias), on in self._aliases.items() if (model, on) == place]
        return replace(version, aliases=tuple(sorted(names)))


class NoServers:
    """The `Serving` port of a team that scores batches."""

    def status(self, model: str) -> ServingStatus:  # noqa: ARG002 - the port's signature
        return ServingStatus()

    def restart(self, model: str, decision_id: str, pids: Sequence[int]) -> Restart:  # noqa: ARG002
        return Restart(state=RestartState.IMPOSSIBLE, words=f"no server of {model} runs here")

    def released(self, model: str, release: Release) -> None:
        """Nothing: there is nobody to be told."""
