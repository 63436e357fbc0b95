"""Evidence survives the ledger unchanged, and is the same record exactly when it is the same measurement."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.adapters.ledger_payload import canonical_payload
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.record import Record, RecordKind

NOW = datetime(2026, 1, 2, tzinfo=UTC)
names = st.text(min_size=1, max_size=30)
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
evidences = st.builds(
    Evidence,
    model=names,
    signal=st.sampled_from(Signal),
    status=st.sampled_from(Status),
    batch_id=names,
    champion_version=st.one_of(st.none(), names),
    event_time=st.datetimes(timezones=st.just(UTC)),
    value=numbers,
    threshold=numbers,
    sample_size=st.integers(0, 10**9),
    reason=st.text(),
    strength=numbers,
    batch_ids=st.lists(names, max_size=3).map(tuple),
    details=st.dictionaries(
        st.text(),
        st.recursive(
            st.one_of(numbers, st.booleans(), st.integers(-(2**53), 2**53), st.text()),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
            max_leaves=5,
        ),
        max_size=3,
    ),
)
ONE = Evidence(
    model="m",
    signal=Signal.DRIFT,
    status=Status.RAISED,
    batch_id="b1",
    champion_version="1",
    event_time=NOW,
    value=0.3,
    threshold=0.2,
    sample_size=2_000,
    reason="psi",
)


def through_json(record: Record) -> Record:
    """What a ledger gives back."""
    return dataclasses.replace(record, status=str(record.status), payload=json.loads(canonical_payload(record)))


@given(evidences)
def test_evidence_comes_back_from_its_record(evidence: Evidence) -> None:
    found = Evidence.from_record(through_json(evidence.to_record(NOW, 3)))
    assert found == evidence
    assert isinstance(found.signal, Signal)
    assert isinstance(found.status, Status)


def test_the_record_s_fields() -> None:
    record = ONE.to_record(NOW + timedelta(hours=1), 7)
    assert record == Record(
        key="evidence:m:drift:b1:1:7",
        model="m",
        kind=RecordKind.EVIDENCE,
        subject="b1",
        status="RAISED",
        event_time=NOW,
        recorded_at=NOW + timedelta(hours=1),
        payload={
            "signal": "drift",
            "champion_version": "1",
            "value": 0.3,
            "threshold": 0.2,
            "sample_size": 2_000,
            "reason": "psi",
            "strength": None,
            "batch_ids": [],
            "details": {},
        },
    )
    whole = dataclasses.replace(ONE, strength=1.5, batch_ids=("b0", "b1"), details={"features": [{"psi": 0.3}]})
    told = whole.to_record(NOW, 7).payload
    assert (told["strength"], told["batch_ids"], told["details"]) == (1.5, ["b0", "b1"], {"features": [{"psi": 0.3}]})


def test_a_record_without_the_batches_and_details_is_still_read() -> None:
    """Whoever writes evidence need not know everything."""
    record = through_json(ONE.to_record(NOW, 7))
    bare = {k: v for k, v in record.payload.items() if k not in ("batch_ids", "details", "strength")}
    assert Evidence.from_record(dataclasses.replace(record, payload=bare)) == ONE


def test_the_key_is_the_measurement_not_its_result() -> None:
    """Measuring again the same try of a batch is the same record, whatever came out and whenever."""
    key = ONE.to_record(NOW, 1).key
    for changes in (
        {"status": Status.CLEAR},
        {"value": 0.9},
        {"reason": "other"},
        {"event_time": NOW - timedelta(1)},
        {"details": {"a": 1}},
    ):
        assert dataclasses.replace(ONE, **changes).to_record(NOW + timedelta(1), 1).key == key
    others: list[dict[str, Any]] = [
        {"model": "n"},
        {"signal": Signal.PERFORMANCE},
        {"batch_id": "b2"},
        {"champion_version": "2"},
        {"champion_version": None},
    ]
    keys = {dataclasses.replace(ONE, **changes).to_record(NOW, 1).key for changes in others}
    keys.add(ONE.to_record(NOW, 2).key)
    assert len(keys | {key}) == len(others) + 2


def test_kinds_and_statuses_are_plain_words_in_json() -> None:
    text = canonical_payload(ONE.to_record(NOW, 0))
    assert json.loads(text)["signal"] == "drift"
    zoned = dataclasses.replace(ONE.to_record(NOW, 0), payload={"at": NOW.astimezone(timezone(timedelta(hours=2)))})
    assert json.loads(canonical_payload(zoned)) == {"at": "2026-01-02 02:00:00+02:00"}
