"""Plan the next ingest: the oldest open batches and their failed runs in; which to ask for now, or why none, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile, takewhile

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.sensors.tries import Tries, tries
from selfheal_assets.stages.batch_records import BatchStatus, opening, settle
from selfheal_assets.stages.identity import BACKLOG_TAG, partitions


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which batches to ingest now: none, with the reason, or one run over some of them."""

    why: str
    batch_ids: Sequence[str] = ()
    name: str = ""
    tries: Tries | None = None
    """Of a run by that name."""


def plan_ingest(instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec, backlog: Sequence[str]) -> Plan:
    """`backlog`: the oldest open batches, listed when no ingest was running; what failed before is asked for again."""
    if not backlog:
        return Plan(why="no open batch")
    ids = _neighbours(instance.get_dynamic_partitions(str(partitions(spec).name)), backlog)
    while True:
        name = _name(selfheal, spec, ids)
        found = tries(instance, selfheal, spec, BACKLOG_TAG, name)
        if found.given_up:
            return _one_by_one(instance, selfheal, spec, ids, found)
        waits_until = found.waits_until(selfheal.clock.now())
        if waits_until is not None:
            return Plan(why=_waiting(f"the ingest of {len(ids)} batches", found, waits_until))
        if found.sample is None or found.sample >= len(ids):
            why = f"requested the ingest of {len(ids)} batches, try {found.launched + 1}"
            return Plan(why=why, batch_ids=ids, name=name, tries=found)
        ids = ids[: found.sample]


def _neighbours(present: Sequence[str], backlog: Sequence[str]) -> list[str]:
    """What one run over a range can take: batches whose run crashed, as they stand in a row; else all, to be added."""
    wanted = set(backlog)
    block = list(takewhile(wanted.__contains__, dropwhile(lambda key: key not in wanted, present)))
    return block or list(backlog)


def _name(selfheal: Services, spec: ModelSpec, ids: Sequence[str]) -> str:
    """By the end: what is left of a backlog that crashed, after some of it went by itself, is still that backlog."""
    last = _this_try(selfheal, spec, ids[-1])
    return last if len(ids) == 1 else f"until-{last}"


def _this_try(selfheal: Services, spec: ModelSpec, batch_id: str) -> str:
    """The batch as it was registered or released last: a release begins to count the failures anew."""
    return f"{batch_id}.{opening(selfheal, spec, batch_id)}"


def _waiting(what: str, found: Tries, until: datetime) -> str:
    return f"{what} {found.words}; the next try is not before {until:%Y-%m-%d %H:%M:%S} UTC"


def _one_by_one(
    instance: dg.DagsterInstance, selfheal: Services, spec: ModelSpec, ids: Sequence[str], backlog: Tries
) -> Plan:
    """A backlog that is given up goes batch by batch, so that a poisonous one does not hold up the good ones."""
    waiting = list[str]()
    for batch_id in ids:
        name = _this_try(selfheal, spec, batch_id)
        found = tries(instance, selfheal, spec, BACKLOG_TAG, name)
        if found.given_up:
            _give_up(selfheal, spec, batch_id, name, found)
            continue
        waits_until = found.waits_until(selfheal.clock.now())
        if waits_until is None:
            why = f"the backlog {backlog.words}; requested {batch_id} by itself, try {found.launched + 1}"
            return Plan(why=why, batch_ids=[batch_id], name=name, tries=found)
        waiting.append(_waiting(batch_id, found, waits_until))
    return Plan(why="; ".join(waiting) or "every batch of the backlog failed by itself too; all are in quarantine")


def _give_up(selfheal: Services, spec: ModelSpec, batch_id: str, name: str, found: Tries) -> None:
    reason = f"its ingest run {found.words}; see the runs tagged {BACKLOG_TAG}={name}"
    registered = selfheal.ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, subject=batch_id)[0]
    rows = selfheal.batches.quarantine_whole(spec.name, batch_id, registered.payload["file_name"], reason)
    settle(selfheal, spec, batch_id, BatchStatus.QUARANTINED, reasons=[reason], rows_landed=rows, rows_quarantined=rows)
