"""Write answered rows as lines of JSON, and read lines back, a torn one apart. Never fails for a row's values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from time import sleep
from typing import Any

import orjson

from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import Logged

OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC
BREATH_ROWS, BREATH_SECONDS = 50, 0.0002
"""Reading lines is pure Python: after so many of them a waiting request gets its turn."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What a segment file holds."""

    rows: list[dict[str, Any]]
    torn: int
    """Unfinished last lines, 0 or 1: rows whose commit a killed process did not live to see."""
    damaged: int
    """Other lines that are not rows: a fault of the disk."""


def encode(row: Logged) -> bytes:
    """One line, newline included; not a number is null."""
    event, features = row.event, row.features
    try:
        if not any(inf in values or -inf in values for values in (event.values(), features.values())):
            return orjson.dumps(_plain(row, dict(event), dict(features)), option=OPTIONS)
    except (TypeError, ValueError, ArithmeticError):
        pass  # A value that JSON has no word for.
    return orjson.dumps(_plain(row, _spelt(event), _spelt(features)), default=str, option=OPTIONS)


def _plain(row: Logged, event: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    return {
        "event": event,
        "features": features,
        "score": row.score,
        "version": row.version,
        "arm": row.arm,
        "rollout": row.rollout,
        "level": row.level,
        "latency_ms": row.latency_ms,
        "champion_score": row.scores.get(Arm.CHAMPION),
        "challenger_score": row.scores.get(Arm.CHALLENGER),
    }


def _spelt(values: Mapping[str, Any]) -> dict[str, Any]:
    """With a text for what JSON cannot say: infinity, whole numbers beyond 64 bits, half a surrogate pair."""
    return {name: _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> Any:
    try:
        if isinstance(value, Decimal) or value in (inf, -inf):
            return str(value)
        return orjson.loads(orjson.dumps(value, option=OPTIONS))
    except (TypeError, ValueError, ArithmeticError):
        return str(value).encode("utf-8", "backslashreplace").decode()


def decode(content: bytes) -> Lines:
    """The rows, in order; a last line without its end is a row when it is whole."""
    lines, damaged, torn = content.split(b"\n"), 0, 0
    rows = list[dict[str, Any]]()
    for number, line in enumerate(_unhurried(lines), start=1):
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif number == len(lines):
            torn += bool(line)
        else:
            damaged += 1
    return Lines(rows=rows, torn=torn, damaged=damaged)


def _unhurried(lines: list[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % BREATH_ROWS == BREATH_ROWS - 1:
            sleep(BREATH_SECONDS)
        yield line


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and {"event", "features"} <= found.keys() else None
