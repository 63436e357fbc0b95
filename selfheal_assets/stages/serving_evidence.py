"""Record what the model servers show, whenever it changed or lasts: a look in, evidence out. Never decides or acts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal, Status, is_look, look_id
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.release_health import Release, assess_business, assess_release_fault
from selfheal_assets.core.served_counts import Business
from selfheal_assets.core.served_past import ServedPast
from selfheal_assets.core.served_scores import assess_served_scores, lately
from selfheal_assets.core.server_reading import ServingStatus
from selfheal_assets.core.server_window import ServerWindow
from selfheal_assets.core.serving_health import START_SECONDS, Assessment, assess
from selfheal_assets.ports import Ledger, Services
from selfheal_assets.stages.champion import reference_scores

EVIDENCE_READ = 200
"""A statement that is not among so many is made again: what a decision reads always has the last one."""
RESTATED_SHARE = 0.5
"""A fault that lasts is stated again when it has lasted for half as long again: seldom, the longer it lasts."""
RECORDED = (
    Signal.ERRORS,
    Signal.TIMEOUTS,
    Signal.LATENCY,
    Signal.FEATURE_STORE,
    Signal.RELEASE_FAULT,
    Signal.BUSINESS,
    Signal.SERVED_SCORES,
)


def serving_evidence(
    selfheal: Services, spec: ModelSpec, status: ServingStatus, window: ServerWindow, past: ServedPast
) -> str:
    """What was found, in words. Records what is new of it, all in one append."""
    ledger, now = selfheal.ledger, window.newest.at
    champion = past.version
    stated = _stated(ledger, spec, champion)
    if not status.any and not stated:
        return "no model server has been seen"
    found = assess(spec.serving, status, window, champion=_had_time_to_load(ledger, spec, now))
    release = _release(ledger, spec, champion)
    if release is not None:
        before = _raised_at(_stated(ledger, spec, release.previous), release.at)
        found += _of_release(spec, release, found, before, stated.get(Signal.RELEASE_FAULT, ()), past, now)
    if champion is not None:
        found.append(_of_scores(selfheal, spec, champion, found, stated.get(Signal.SERVED_SCORES, ()), past, now))
    words = []
    place, records = ledger.head().sequence, []
    for one in found:
        words.append(f"{one.signal} {one.status}: {one.reason}")
        if _is_new(spec, one, stated.get(one.signal, ()), now):
            version = None if one.signal in UNBOUND else champion
            records.append(_evidence(spec, one, version, now).to_record(now, place))
    ledger.append(*records)
    return "; ".join(words)


def _had_time_to_load(ledger: Ledger, spec: ModelSpec, now: datetime) -> bool:
    """Whether a server must have a model by now: one that was started before the first champion begins with it."""
    promoted = ledger.newest(spec.name, RecordKind.OUTCOME, status=OutcomeStatus.PROMOTED, limit=2)
    patience = timedelta(seconds=START_SECONDS)
    return len(promoted) > 1 or any(now - record.event_time > patience for record in promoted)


def _stated(ledger: Ledger, spec: ModelSpec, champion: str | None) -> dict[Signal, list[Evidence]]:
    """The last statements of each signal about that champion, newest first."""
    found: dict[Signal, list[Evidence]] = {}
    for record in ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ):
        evidence = Evidence.from_record(record)
        if evidence.signal in RECORDED and evidence.champion_version in (None, champion):
            found.setdefault(evidence.signal, []).append(evidence)
    return found


def _is_new(spec: ModelSpec, one: Assessment, stated: Sequence[Evidence], now: datetime) -> bool:
    if not stated or stated[0].status is not one.status:
        return True
    if one.status is not Status.RAISED:
        return False
    last, first = stated[0].event_time, list(_lasting(stated))[-1].event_time
    return now - last >= max(timedelta(seconds=spec.serving.window_seconds), RESTATED_SHARE * (last - first))


def _lasting(stated: Sequence[Evidence]) -> Iterable[Evidence]:
    """Those since it was raised, newest first."""
    for evidence in stated:
        if evidence.status is not Status.RAISED:
            return
        yield evidence


def _release(ledger: Ledger, spec: ModelSpec, champion: str | None) -> Release | None:
    """How the champion came to serve; None where there is nothing to go back to, or it came back itself."""
    moved = [
        record
        for status in (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK)
        for record in ledger.newest(spec.name, RecordKind.OUTCOME, status=status)
    ]
    last = max(moved, key=lambda record: record.sequence, default=None)
    if last is None or last.status != OutcomeStatus.PROMOTED:
        return None
    previous = last.payload.get("previous_version")
    if previous is None or champion is None:
        return None
    return Release(version=champion, at=last.event_time, previous=str(previous))


def _of_release(
    spec: ModelSpec,
    release: Release,
    found: Sequence[Assessment],
    before: Collection[Signal],
    said: Sequence[Evidence],
    past: ServedPast,
    now: datetime,
) -> list[Assessment]:
    standing = bool(said) and said[0].status is Status.RAISED
    fault = assess_release_fault(spec, release, found, before, now, standing=standing)
    business = assess_business(spec, release, _business(spec, release, past, now), now)
    return [one for one in (fault, business) if one is not None]


def _of_scores(
    selfheal: Services,
    spec: ModelSpec,
    champion: str,
    found: Sequence[Assessment],
    said: Sequence[Evidence],
    past: ServedPast,
    now: datetime,
) -> Assessment:
    store = next(one.status for one in found if one.signal is Signal.FEATURE_STORE)
    reference = reference_scores(selfheal, spec, champion)
    served = lately(spec, past, champion, now)
    return assess_served_scores(spec, reference, served, store, said[0].status if said else None)


def _raised_at(stated: Mapping[Signal, Sequence[Evidence]], at: datetime) -> set[Signal]:
    """The faults that stood at that time, by the last word before it."""
    before = {signal: [e for e in said if e.event_time <= at] for signal, said in stated.items()}
    return {signal for signal, said in before.items() if said and said[0].status is Status.RAISED}


def _business(spec: ModelSpec, release: Release, past: ServedPast, now: datetime) -> dict[str, Business]:
    """Of the new version since its promotion, and of the one before in as long a time as it is watched for, before."""
    before = release.at - timedelta(minutes=spec.serving.business_minutes)
    # The first span under the new version begins at the last look before its promotion.
    return {
        release.version: past.posted_between(release.version, before, now),
        release.previous: past.posted_between(release.previous, before, release.at),
    }


def _evidence(spec: ModelSpec, one: Assessment, version: str | None, now: datetime) -> Evidence:
    strength = one.value / one.threshold if one.value is not None and one.threshold else None
    return Evidence(
        model=spec.name,
        signal=one.signal,
        status=one.status,
        batch_id=look_id(now),
        champion_version=version,
        event_time=now,
        value=one.value,
        threshold=one.threshold,
        sample_size=one.sample_size,
        reason=one.reason,
        strength=strength,
        details=dict(one.details),
    )


def processes_at_fault(ledger: Ledger, spec: ModelSpec, batch_ids: Sequence[str]) -> list[int]:
    """The processes that the last statements behind an incident name; none where it is not known which."""
    named = set(batch_ids)
    for record in ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ):
        if record.subject in named and is_look(record.subject) and record.payload["signal"] == Signal.ERRORS:
            return [int(pid) for pid in record.payload["details"].get("pids", ())]
    return []
