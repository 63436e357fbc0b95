"""Lay newer labels over those of a batch: old and new rows in, one label an event id out. Never touches a file."""

import hashlib
from typing import TYPE_CHECKING

from selfheal_assets.ports import Overlay

if TYPE_CHECKING:
    import pandas as pd


def laid_over(before: "pd.DataFrame | None", rows: "pd.DataFrame", brought: "pd.Series") -> "pd.DataFrame":
    """One row an event id: that with the newest `known_at`, among equals that which arrived last.

    `before` is the overlay so far; `brought` has the labels that the batch came with, by event id, NaN where none did.
    Columns: those of `rows`, and `corrections`, how often the label contradicted what was known. The same rows again
    change nothing, whatever came between.
    """
    import pandas as pd

    columns = list(rows.columns)
    both = rows if before is None else pd.concat([before[columns], rows], ignore_index=True)
    newest = both.sort_values(["known_at", "arrival"], kind="stable").drop_duplicates("event_id", keep="last")
    after = newest.sort_values("event_id", kind="stable").reset_index(drop=True)
    known = after["event_id"].map(brought).astype("float64")
    counted = pd.Series(0, index=after.index, dtype="int64")
    if before is not None:
        earlier = before.set_index("event_id")
        known = after["event_id"].map(earlier["label"]).astype("float64").fillna(known)
        counted = after["event_id"].map(earlier["corrections"]).fillna(0).astype("int64")
    contradicted = known.notna() & (known != after["label"])
    return after.assign(corrections=counted + contradicted.astype("int64"))


def overlay_of(after: "pd.DataFrame") -> Overlay:
    """The overlay's figures, and a digest of twelve hexadecimal digits over its labels and their files."""
    import pandas as pd

    hashed = pd.util.hash_pandas_object(after[["event_id", "label", "file_id"]], index=False)
    digest = hashlib.sha256(hashed.to_numpy().tobytes()).hexdigest()[:12]
    return Overlay(rows=len(after), corrections=int(after["corrections"].sum()), digest=digest)
