"""The chain of the ledger: one form for one record, and no change of a ledger that is not found."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core import ledger_breaks
from selfheal_assets.core.ledger_breaks import Break, BreakKind, breaks
from selfheal_assets.core.ledger_chain import GENESIS, Head, Link, canonical_bytes, next_hash
from selfheal_assets.core.record import Record, RecordKind

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
EDITED, DELETED, REORDERED, TRUNCATED = BreakKind
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
payloads = st.dictionaries(st.text(), json_values, max_size=3)
moments = st.datetimes(timezones=st.just(UTC))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "key": st.text(),
    "model": st.text(),
    "kind": st.sampled_from(RecordKind),
    "subject": st.text(),
    "status": st.text(),
    "event_time": moments,
    "recorded_at": moments,
    "payload": payloads,
}


def record(number: int, payload: dict[str, Any] | None = None) -> Record:
    return Record(
        key=f"k{number}",
        model="m",
        kind=RecordKind.EVIDENCE,
        subject=f"b{number}",
        status="CLEAR",
        event_time=BEGIN + timedelta(hours=number),
        recorded_at=BEGIN + timedelta(hours=number, minutes=1),
        payload=payload or {},
    )


def chained(records: list[Record]) -> list[Link]:
    links, last = list[Link](), GENESIS
    for number, one in enumerate(records, 1):
        last = next_hash(last, one)
        links.append(Link(number, last, dataclasses.replace(one, sequence=number, hash=last)))
    return links


def head_of(links: list[Link]) -> Head:
    return Head(links[-1].sequence, links[-1].hash, links[-1].sequence) if links else Head(0, GENESIS, 0)


def ledger(count: int = 9) -> list[Link]:
    return chained([record(number, {"value": number / 7}) for number in range(count)])


def told(links: list[Link], head: Head | None = None) -> list[tuple[int, BreakKind]]:
    return [(b.sequence, b.what) for b in breaks(links, head or head_of(ledger()))]


def replaced(links: list[Link], place: int, /, **changes: Any) -> list[Link]:
    return [link._replace(**changes) if link.sequence == place else link for link in links]


def edited(links: list[Link], sequence: int, **changes: Any) -> list[Link]:
    known = links[sequence - 1].record
    assert known is not None
    return replaced(links, sequence, record=dataclasses.replace(known, **changes))


def renumbered(links: list[Link]) -> list[Link]:
    return [link._replace(sequence=number) for number, link in enumerate(links, 1)]


def test_the_canonical_form_is_json_with_sorted_keys_and_utc() -> None:
    """Pinned: a ledger written by one version is verified by the next."""
    local = datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=14)))
    one = dataclasses.replace(record(0, {"b": [1.5, None], "a": "ø"}), event_time=local, sequence=5, hash="not part")
    assert canonical_bytes(one).decode() == (
        '{"event_time":"2026-01-01T00:00:00.000000+00:00","key":"k0","kind":"evidence","model":"m",'
        '"payload":{"a":"\\u00f8","b":[1.5,null]},"recorded_at":"2026-01-01T00:01:00.000000+00:00",'
        '"status":"CLEAR","subject":"b0"}'
    )
    assert next_hash(GENESIS, one) == "c3db308e22c28787d77bf529684dc52de2cffeea45ce4c60f0550ca28163cde1"


@given(st.builds(Record, **FIELDS))
def test_every_field_is_in_the_canonical_form(one: Record) -> None:
    form = json.loads(canonical_bytes(one))
    assert set(form) == {f.name for f in dataclasses.fields(Record)} - {"sequence", "hash"}
    assert form["payload"] == one.payload


@given(st.lists(st.builds(Record, **FIELDS), max_size=6))
def test_what_was_written_is_sound(records: list[Record]) -> None:
    links = chained(records)
    assert breaks(links, head_of(links)) == []


@given(st.data())
def test_any_edit_of_any_field_is_found_where_it_is(data: st.DataObject) -> None:
    links = ledger()
    name, sequence = data.draw(st.sampled_from(sorted(FIELDS))), data.draw(st.integers(1, 9))
    was = getattr(links[sequence - 1].record, name)
    value = data.draw(FIELDS[name].filter(lambda value: value != was))
    assert told(edited(links, sequence, **{name: value})) == [(sequence, EDITED)]


@given(st.integers(1, 9), st.text())
def test_an_edited_hash_is_told_once(sequence: int, value: str) -> None:
    assert told(replaced(ledger(), sequence, hash=value)) == [(sequence, EDITED)]


@given(st.integers(1, 9))
def test_an_edit_with_its_hash_made_anew_is_found(sequence: int) -> None:
    """At the record after it, or by the head."""
    links = edited(ledger(), sequence, status="RAISED")
    before = links[sequence - 2].hash if sequence > 1 else GENESIS
    forged = links[sequence - 1].record
    assert forged is not None
    links = replaced(links, sequence, hash=next_hash(before, forged))
    assert told(links) == [(min(sequence + 1, 9), EDITED)]


def test_a_chain_made_anew_to_its_end_is_found_by_the_head() -> None:
    records = [link.record for link in edited(ledger(), 4, status="RAISED") if link.record]
    assert told(chained(records)) == [(9, EDITED)]


@given(st.integers(1, 8), st.integers(1, 8))
def test_records_deleted_in_the_middle_are_found(first: int, last: int) -> None:
    first, last = min(first, last), max(first, last)
    links = [link for link in ledger() if not first <= link.sequence <= last]
    assert told(links) == [(first, DELETED)]


@given(st.integers(1, 8))
def test_a_deletion_hidden_by_new_numbers_is_found(gone: int) -> None:
    links = renumbered([link for link in ledger() if link.sequence != gone])
    assert told(links) == [(gone, EDITED), (8, DELETED)] if gone < 8 else [(8, EDITED), (8, DELETED)]


@given(st.integers(1, 9))
def test_newest_records_that_are_deleted_are_found(first: int) -> None:
    assert told(ledger()[: first - 1]) == [(first, TRUNCATED)]


def test_a_gap_at_the_end_stays_when_more_is_appended() -> None:
    """The next record takes its number and its hash from the head."""
    links = ledger()[:7]
    tenth = record(10)
    head = Head(10, next_hash(ledger()[-1].hash, tenth), 10)
    assert told([*links, Link(10, head.hash, tenth)], head) == [(8, DELETED)]


@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_any_two_records_that_changed_places_are_found(one: int, other: int, with_hash: bool) -> None:
    links = ledger()
    a, b = links[one - 1], links[other - 1]
    if with_hash:
        swapped = replaced(replaced(links, one, record=b.record, hash=b.hash), other, record=a.record, hash=a.hash)
    else:
        swapped = replaced(replaced(links, one, record=b.record), other, record=a.record)
    found = told(swapped)
    if one == other:
        assert found == []
    else:
        assert {(one, REORDERED), (other, REORDERED)} <= set(found)
        assert {what for _, what in found} == {REORDERED}


def test_a_record_moved_to_another_number_is_found() -> None:
    links = sorted(replaced(ledger(), 5, sequence=50), key=lambda link: link.sequence)
    assert set(told(links)) >= {(5, DELETED), (50, REORDERED), (6, REORDERED), (10, EDITED)}
    shifted = [link._replace(sequence=link.sequence + (link.sequence > 5)) for link in ledger()]
    assert told(shifted) == [(7, EDITED), (10, EDITED)]


def test_a_record_put_in_is_found() -> None:
    links = ledger()
    forged = Link(10, next_hash(links[-1].hash, record(10)), record(10))
    assert told([*links, forged]) == [(10, EDITED)]
    assert (4, EDITED) in told(renumbered([*links[:3], forged, *links[3:]]))


def test_a_row_that_is_no_record_is_found_and_what_follows_is_still_read() -> None:
    links = edited(replaced(ledger(), 3, record=None), 6, model="other")
    assert told(links) == [(3, EDITED), (6, EDITED)]
    assert told(links[1:]) == [(1, DELETED), (3, EDITED), (6, EDITED)]
    assert told([link for link in links if link.sequence != 2]) == [(2, DELETED), (3, EDITED), (6, EDITED)]


def test_a_lost_head_is_told() -> None:
    assert told(ledger(), Head(0, "", 9)) == [(9, TRUNCATED)]
    assert told([], Head(0, "", 0)) == [(0, TRUNCATED)]
    assert told([], Head(0, GENESIS, 0)) == []


def test_many_breaks_are_told_in_order_each_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_breaks, "SEARCHED", 3)
    links = chained([record(number) for number in range(40)])
    broken = [link._replace(hash=link.hash[::-1]) if link.sequence % 3 == 0 else link for link in links]
    found: list[Break] = breaks(broken, head_of(links))
    assert [b.sequence for b in found] == list(range(3, 40, 3))
    assert all(b.sentence.startswith(f"Record {b.sequence} does not follow") for b in found)
