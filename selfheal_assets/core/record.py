"""One line of the ledger: an immutable, idempotent statement about a model. Never knows where it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class RecordKind(StrEnum):
    BATCH_REGISTERED = "batch_registered"
    BATCH_SETTLED = "batch_settled"
    """Its rows are clean, quarantined, or split between the two."""
    BATCH_CLOSED = "batch_closed"
    """Everything that an ingest does with it is done; until then a crashed run is asked for again."""
    EVIDENCE = "evidence"
    DECISION = "decision"
    OUTCOME = "outcome"
    WAIVER = "waiver"
    LABELS = "labels"
    """Labels came for rows of the batch that is the subject."""
    INCIDENT = "incident"
    """The incident that is the subject entered the state that is the status."""
    APPROVAL = "approval"
    """A person's word on the decision that is the subject."""
    FLAG = "flag"
    """An action, or every one ("*"), was switched ON or OFF for a model, or for all ("*")."""
    NOTIFICATION = "notification"
    RUN_FAILURE = "run_failure"
    ROLLOUT = "rollout"
    """The rollout that is the subject entered the state that is the status, or the next step."""


OPENING = (RecordKind.BATCH_REGISTERED, RecordKind.WAIVER)
"""The kinds of record that give an ingest something to do with a batch."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the ledger keeps. `key` is the identity: appending the same key twice changes nothing."""

    key: str
    model: str
    kind: RecordKind
    subject: str
    """The id of the batch, decision, incident or rollout that the record is about."""
    status: str
    event_time: datetime
    """When it happened in the data's world, UTC."""
    recorded_at: datetime
    """When selfheal wrote it down, UTC."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    """Place in the ledger; 0 until stored."""
    hash: str = ""
    """The ledger's chain up to this record (`core/ledger_chain.py`); empty until stored."""
