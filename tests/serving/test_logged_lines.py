"""Lines and tables of answered rows: every value comes back, a torn or damaged line costs that line alone."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import EVENT, FEATURES, columns, logged, with_values
from pyarrow import parquet

from selfheal_assets.adapters.tables import read_table
from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import FeatureLevel, Logged
from selfheal_assets.serving.logged_lines import decode, encode
from selfheal_assets.serving.segment_landing import DAMAGED, convert, land

MOMENT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
TYPES = {
    "string": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
}


def table_of(*rows: Logged) -> pa.Table:
    content = columns().parquet(decode(b"".join(map(encode, rows))).rows)
    return parquet.read_table(BytesIO(content))


def one(row: Logged, name: str) -> Any:
    return table_of(row).column(name)[0].as_py()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("amount", None, None),
        ("amount", math.nan, None),
        ("amount", math.inf, math.inf),
        ("amount", -math.inf, -math.inf),
        ("amount", np.float32(math.inf), math.inf),
        ("amount", np.float64(1.5), 1.5),
        ("amount", 10**30, 1e30),
        ("amount", Decimal("0.1"), 0.1),
        ("amount", 3, 3.0),
        ("amount", 5e-324, 5e-324),
        ("age", np.int64(7), 7),
        ("age", 7.0, 7),
        ("age", 2**63 - 1, 2**63 - 1),
        ("age", None, None),
        ("vip", np.bool_(False), False),
        ("who", '支付 \n\r\u2028\0"\\', '支付 \n\r\u2028\0"\\'),
        ("who", "", ""),
        ("who", 12, "12"),
        ("who", "\ud800x", "\\ud800x"),
        ("who", "null", "null"),
        ("at", MOMENT, MOMENT),
        ("at", MOMENT.replace(tzinfo=None), MOMENT),
        ("at", MOMENT.astimezone(timezone(timedelta(hours=-9))), MOMENT),
        ("at", pd.Timestamp(MOMENT), MOMENT),
        ("at", np.datetime64("2026-03-01T12:00:00.123456789"), MOMENT),
        ("at", None, None),
    ],
)
def test_a_value_comes_back(name: str, value: Any, expected: Any) -> None:
    assert one(with_values("a", {name: value}), name) == expected


def test_features_are_kept_as_they_were_used() -> None:
    used = {"amount_mean": math.inf, "visits": None, "country": "DE", "last_at": MOMENT}
    row = logged("a", features=MappingProxyType(used), event=MappingProxyType({"id": "a"}))
    found = table_of(row).to_pylist()[0]
    assert {name: found[f"selfheal_feature_{name}"] for name in used} == used
    assert [found[name] for name in EVENT] == ["a", *[None] * (len(EVENT) - 1)]


def test_who_answered_what_and_from_where() -> None:
    both = {Arm.CHAMPION: 0.25, Arm.CHALLENGER: 0.75}
    row = logged("a", arm=Arm.CHALLENGER, version="7", score=0.75, level=FeatureLevel.CACHED, scores=both)
    found = table_of(row, logged("b", scores={})).to_pylist()
    answer = {name: value for name, value in found[0].items() if name.startswith("selfheal_") and "feature" not in name}
    assert answer == {
        "selfheal_score": 0.75,
        "selfheal_version": "7",
        "selfheal_arm": "challenger",
        "selfheal_rollout": None,
        "selfheal_level": "cached",
        "selfheal_latency_ms": 2.5,
        "selfheal_champion_score": 0.25,
        "selfheal_challenger_score": 0.75,
    }
    assert (found[1]["selfheal_champion_score"], found[1]["selfheal_challenger_score"]) == (None, None)


def test_the_schema_is_the_same_whatever_the_rows_hold() -> None:
    nothing = logged("a", event={"id": "a"}, features=dict.fromkeys(FEATURES), scores={})
    schema = table_of(nothing).schema
    assert schema == table_of(logged("b"), logged("c")).schema
    assert [(f.name, f.type) for f in schema][: len(EVENT)] == [(name, TYPES[kind]) for name, kind in EVENT.items()]
    assert [schema.field(f"selfheal_feature_{name}").type for name in FEATURES] == [TYPES[k] for k in FEATURES.values()]


def test_a_value_of_another_type_makes_its_column_text() -> None:
    """As ingest does with a file: the checks quarantine it, and nothing is lost."""
    found = table_of(with_values("a", {"age": 7.5}), logged("b"), with_values("c", {"age": 2**63}))
    assert found.column("age").to_pylist() == ["7.5", "7", str(2**63)]
    assert one(with_values("a", {"vip": 1}), "vip") == "1"
    assert one(with_values("a", {"at": "yesterday"}), "at") == "yesterday"


def test_ingest_reads_it_with_declared_types(tmp_path: Path) -> None:
    path = tmp_path / "served.parquet"
    path.write_bytes(columns().parquet(decode(encode(logged("a")) + encode(logged("b", event={"id": "b"}))).rows))
    frame = read_table(path, {"at": "timestamp", "amount": "float", "age": "integer"})
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"
    assert frame["amount"].tolist()[0] == 12.5


@given(st.integers(0, 10_000))
def test_a_torn_tail_costs_one_line(cut: int) -> None:
    lines = [encode(logged(f"id {number}")) for number in range(5)]
    content = b"".join(lines)
    kept = content[: cut % (len(content) + 1)]
    found = decode(kept)
    whole = [row["event"]["id"] for row in found.rows]
    ends = [sum(map(len, lines[:number])) for number in range(6)]
    expected = sum(len(kept) >= end - 1 for end in ends[1:])  # Only the newline may be missing.
    assert whole == [f"id {number}" for number in range(expected)]
    assert (found.torn, found.damaged) == (int(len(kept) not in {*ends, *(e - 1 for e in ends)}), 0)


@pytest.mark.parametrize("noise", [b"\0" * 40, b"{}", b"[]", b'{"event":1}', b"\xff\xfe", b'"x"'])
def test_a_damaged_line_costs_itself_and_a_copy_is_put_aside(tmp_path: Path, noise: bytes) -> None:
    content = encode(logged("a")) + noise + b"\n" + encode(logged("b"))
    (tmp_path / "s.jsonl").write_bytes(content)
    counts = convert(tmp_path, "s", columns())
    land(tmp_path, "s", tmp_path / "landing")
    assert (counts.rows, counts.torn, counts.damaged) == (2, 0, 1)
    assert pd.read_parquet(tmp_path / "landing" / "served-s.parquet")["id"].tolist() == ["a", "b"]
    assert (tmp_path / f"s.jsonl{DAMAGED}").read_bytes() == content
    assert sorted(path.name for path in tmp_path.glob("s.*")) == [f"s.jsonl{DAMAGED}"]


@given(
    st.dictionaries(
        st.sampled_from(sorted(FEATURES)),
        st.none() | st.integers() | st.floats() | st.text() | st.datetimes() | st.booleans() | st.decimals(),
    )
)
def test_no_value_makes_a_line_or_a_table_fail(features: dict[str, Any]) -> None:
    row = with_values("a", {}, features)
    line = encode(row)
    assert line.count(b"\n") == 1
    assert table_of(row).num_rows == 1
