"""Cut the public Elec2 table into weekly batches: a CSV in, Parquet files in a landing folder out. Never trains."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selfheal_assets.core.errors import BatchError, SelfhealError, SpecError, UnreadableFileError
from selfheal_assets.simulator.landing import drop

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer", "class"]
# Australian Eastern Standard Time, without daylight saving: the market's own clock.
FIRST_HALF_HOUR = datetime(1996, 5, 7, tzinfo=timezone(timedelta(hours=10))).astimezone(UTC)
HALF_HOURS_A_WEEK = 336


def batches(csv: Path, rows: int = HALF_HOURS_A_WEEK) -> "Iterator[tuple[str, pd.DataFrame]]":
    """File names and tables of `rows` half hours each, oldest first; the last may be shorter.

    Raises SpecError for `rows` below 1, UnreadableFileError when the file is not the Elec2 table.
    """
    if rows < 1:
        raise SpecError(f"rows must be 1 or more; received {rows}. {HALF_HOURS_A_WEEK} half hours are a week.")
    table = _with_identity(_read(csv))
    for number, first in enumerate(range(0, len(table), rows)):
        yield f"electricity-{number:04d}.parquet", table.iloc[first : first + rows].reset_index(drop=True)


def _read(csv: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        table = pd.read_csv(csv)
    except FileNotFoundError as error:
        raise BatchError(f"The Elec2 CSV must exist; received {csv}. README.md says where to find it.") from error
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"Elec2 must be a readable CSV; received {csv}: {error}. Fetch it again.") from error
    if list(table.columns) != COLUMNS:
        raise UnreadableFileError(
            f"The header of {csv} must be {','.join(COLUMNS)}; received {','.join(map(str, table.columns))}. "
            "Take the copy without date and day, with the class as 0 and 1."
        )
    for column in COLUMNS:
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = numbers.isna() if column != "class" else ~numbers.isin([0, 1])
        if bad.any():
            rule = "0 or 1" if column == "class" else "a number"
            raise UnreadableFileError(
                f"Column {column} of {csv} must hold {rule} in every row; received {table[column][bad].iloc[0]!r} "
                f"in row {int(bad.to_numpy().argmax())} (the first is 0). Fetch the file again."
            )
    if table.empty:
        raise UnreadableFileError(f"{csv} must have rows below its header; received none. Fetch the file again.")
    return table


def _with_identity(table: "pd.DataFrame") -> "pd.DataFrame":
    """Event id, UTC time and region before the measurements; the class becomes price_up."""
    import pandas as pd

    numbers = pd.Series(range(len(table)))
    identity = pd.DataFrame(
        {
            "event_id": "nsw-" + numbers.astype(str).str.zfill(6),
            "event_timestamp": (FIRST_HALF_HOUR + pd.to_timedelta(numbers * 30, unit="min")).dt.as_unit("us"),
            "region": "NSW",
        }
    )
    measured = table[COLUMNS[:-1]].astype("float64").assign(price_up=table["class"].astype("int64"))
    return pd.concat([identity, measured], axis=1)


def main(
    csv: Annotated[Path, typer.Argument(help="The Elec2 CSV: see README.md.")],
    landing_folder: Annotated[Path, typer.Argument(help="Where the batches are dropped.")],
    rows: Annotated[int, typer.Option(min=1, help="Half hours in a batch; 336 are a week.")] = HALF_HOURS_A_WEEK,
    first: Annotated[int, typer.Option(min=0, help="Number of the first batch to drop, from 0.")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="How many to drop; all that follow if not given.")] = None,
) -> None:
    """Cut the public Elec2 CSV into batches and drop them, oldest first, into a landing folder."""
    from rich.console import Console
    from rich.progress import track

    console = Console()
    try:
        chosen = list(itertools.islice(batches(csv, rows), first, None if count is None else first + count))
        if not chosen:
            raise SpecError(f"first must be the number of a batch in {csv}; received {first}. Lower it.")
        for name, table in track(chosen, "Dropping batches", console=console):
            drop(table, landing_folder, name)
    except SelfhealError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    console.print(f"{len(chosen)} batches are in {landing_folder}.", markup=False)


if __name__ == "__main__":
    typer.run(main)
