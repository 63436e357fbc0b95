"""Land a sealed segment: a file of lines in, one Parquet file in landing out. Never removes what has not landed."""

import logging
from dataclasses import dataclass
from pathlib import Path

from selfheal_assets.durable import put, remove
from selfheal_assets.serving.logged_lines import decode
from selfheal_assets.serving.segments import LINES, TABLE
from selfheal_assets.serving.served_table import LoggedColumns

DAMAGED = ".damaged"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of the lines of segments. Unit: rows."""

    rows: int = 0
    repeated: int = 0
    """Left out: the same event stood before."""
    torn: int = 0
    """Left out: the process was killed while it wrote them."""
    damaged: int = 0
    """Left out, with a copy of the whole segment put aside: the disk gave back something else than was written."""

    def __add__(self, other: "Converted") -> "Converted":
        return Converted(
            rows=self.rows + other.rows,
            repeated=self.repeated + other.repeated,
            torn=self.torn + other.torn,
            damaged=self.damaged + other.damaged,
        )


def convert(folder: Path, name: str, columns: LoggedColumns) -> Converted:
    """The segment's lines as a table beside them, durable; nothing when that was done before, or it has no rows."""
    lines, table = folder / f"{name}{LINES}", folder / f"{name}{TABLE}"
    if table.exists() or not lines.exists():
        return Converted()
    content = lines.read_bytes()
    found = decode(content)
    rows = columns.first_of_each(found.rows)
    counts = Converted(rows=len(rows), repeated=len(found.rows) - len(rows), torn=found.torn, damaged=found.damaged)
    if counts.torn or counts.damaged:
        _log.warning("segment %s: %s", lines.name, counts)
    if counts.damaged:
        put(content, lines.with_name(f"{lines.name}{DAMAGED}"))
    if rows:
        put(columns.parquet(rows), table)
    return counts


def land(folder: Path, name: str, landing: Path) -> None:
    """Put the converted segment in landing, then remove it.

    Killed at any point and done again it lands the same name with the same bytes, which is the same batch, whether the
    first one has been taken from landing or not: the table in the log folder is what remembers them.
    """
    lines, table = folder / f"{name}{LINES}", folder / f"{name}{TABLE}"
    if table.exists():
        put(table.read_bytes(), landing / f"served-{name}{TABLE}")
    # The lines first: without the table they would be converted again, and perhaps to other bytes.
    remove(lines)
    remove(table)
