"""Look at the values of one column a part at a time: which are there, again, or known. Never holds all texts of one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from selfheal_assets.ports import BatchRows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def presence(rows: BatchRows, column: str) -> "pd.Series":
    """1 where there is a value, NaN where it is missing."""
    import numpy as np
    import pandas as pd

    return pd.Series(np.concatenate([np.where(p[column].isna(), np.nan, 1.0) for p in rows.parts([column])]))


def values_where(rows: BatchRows, column: str, chosen: "Callable[[pd.Series], pd.Series]") -> "pd.Series":
    """The values that are chosen, asked part by part; None everywhere else."""
    import numpy as np

    flags = [chosen(part[column]).to_numpy(dtype=bool, na_value=False) for part in rows.parts([column])]
    return _only(rows, column, np.flatnonzero(np.concatenate(flags)))


def repeated_values(rows: BatchRows, column: str, among: "np.ndarray | None") -> "pd.Series":
    """The values that stand in more than one row, of all or of those where `among` (n,) is true; None everywhere else.

    Found by 64-bit hashes, eight bytes a row; those that are equal are then compared as the values that they are of.
    """
    import numpy as np
    import pandas as pd

    hashes, there = [], []
    for part in rows.parts([column]):
        values = part[column]
        there.append(values.notna().to_numpy())
        hashes.append(pd.util.hash_array(values.to_numpy(), categorize=False))
    hashed, present = np.concatenate(hashes), np.concatenate(there)
    if among is not None:
        present &= among
    ordered = np.sort(hashed[present])
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    places = np.flatnonzero(present & np.isin(hashed, twice))
    again = rows.at(places, [column])[column].duplicated(keep=False).to_numpy()
    return _only(rows, column, places[again])


def _only(rows: BatchRows, column: str, places: "np.ndarray") -> "pd.Series":
    import numpy as np
    import pandas as pd

    values = np.full(len(rows), None, dtype=object)
    values[places] = rows.at(places, [column])[column].to_numpy(dtype=object)
    return pd.Series(values)
