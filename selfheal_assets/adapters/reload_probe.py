"""Score rows with a saved model, in a process of its own: folder and Parquet in, `.npy` out. Never trains."""

import os
import sys
from pathlib import Path

import numpy as np

from selfheal_assets.adapters.xgboost_trainer import load_model


def main(folder: str, rows: str, out: str) -> None:
    """Write the (n,) scores of the rows in the Parquet file `rows` to `out`."""
    import pandas as pd

    np.save(out, load_model(Path(folder)).score(pd.read_parquet(rows)), allow_pickle=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
    # Not by way of the libraries' own ends: now and then one of their threads aborts a process that has done its work.
    os._exit(0)
