"""Call Great Expectations, Feast and the drift tests directly on the benchmark's batches, and say what each took. Bare.

Run by ingest.py: `ingest_bare.py <home> <overlay> <file> ...`, over the home that ingest_stages.py made; a file a turn,
the first of them for the imports and the caches. Everything that prepares a call is outside its time: reading, planning
the expectations, the features' SQL, the encoding of categories.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bare_libraries import Features, planned, validate
from fresh_process import peak_mb, say, wait_for_turn
from ingest_model import CATEGORIES, MODEL

from selfheal_assets.adapters.column_types import load_types
from selfheal_assets.adapters.dbt_checks import load_checks
from selfheal_assets.adapters.drift_columns import CodedColumns, code_columns
from selfheal_assets.adapters.tables import read_table
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.project import PROJECT, check_folders
from selfheal_assets.stages.drift_frames import BATCH_ROWS

if TYPE_CHECKING:
    import pandas as pd


class BareCalls:
    """The three calls on a batch."""

    def __init__(self, home: Path, overlay: Path) -> None:
        import pandas as pd

        self.spec = load_spec(overlay / "models" / MODEL / "defs.yaml")
        self.checks = load_checks(check_folders([overlay]), self.spec)
        self.types = load_types(check_folders([overlay]), self.spec)
        self.features = Features(home, self.spec, (PROJECT, overlay))
        [reference] = (home / "batches" / MODEL / "reference").glob("*.parquet")
        self.reference = pd.read_parquet(reference)

    def measured(self, file: Path) -> dict[str, float]:
        """Seconds by call."""
        frame = read_table(file, self.types)
        checked, failing = self._validated(frame)
        clean = frame[~frame.index.isin(failing)].reset_index(drop=True)
        joined, known = self._joined(f"bare-{file.stem}", clean)
        return {"gx": checked, "feast": joined, **self._compared(known)}

    def _validated(self, frame: "pd.DataFrame") -> tuple[float, set[int]]:
        import pandas as pd

        nothing_earlier = lambda _, values: pd.Series(False, index=values.index)  # noqa: E731
        expectations = planned(self.spec, frame, self.checks, self.reference, nothing_earlier)
        return _timed(lambda: validate(expectations))

    def _joined(self, name: str, clean: "pd.DataFrame") -> "tuple[float, pd.DataFrame]":
        import pandas as pd

        self.features.compute(name, clean, [])
        asked = self.features.entity_frame(clean)
        seconds, joined = _timed(lambda: self.features.historical(asked))
        self.features.offline_file(name).unlink()
        if len(joined) != len(clean):
            raise RuntimeError(f"Feast must give a row for each asked; received {len(joined)} for {len(clean)}")
        history = joined[[name for name in self.features.names if name in joined]].reset_index(drop=True)
        return seconds, pd.concat([clean[list(self.spec.features.request)], history], axis=1)

    def _compared(self, known: "pd.DataFrame") -> dict[str, float]:
        """All rows, and as many as the stage samples; the same columns and reference, missing values left out."""
        names = self.features.names
        reference, complete = self.reference[names].dropna(), known[names].dropna()
        detect = _alibi if self.spec.drift.detector == "alibi" else _scipy
        sample = complete if len(complete) <= BATCH_ROWS else complete.sample(BATCH_ROWS, random_state=1)
        found = {}
        for call, rows in (("drift_all", complete), ("drift_sample", sample)):
            coded = code_columns(reference, rows, CATEGORIES)
            found[call], _ = _timed(partial(detect, coded))
        return found


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    answer = call()
    return time.perf_counter() - begun, answer


def _alibi(columns: CodedColumns) -> Any:
    """TabularDrift made and asked once, as the stage does."""
    from alibi_detect.cd.tabular import TabularDrift

    detector = TabularDrift(columns.reference, categories_per_feature=dict.fromkeys(sorted(columns.categorical)))
    return detector.predict(columns.batch, drift_type="feature")


def _scipy(columns: CodedColumns) -> Any:
    """A Kolmogorov-Smirnov or chi-squared test a column."""
    import numpy as np
    from scipy.stats import chi2_contingency, ks_2samp

    for place in range(len(columns.names)):
        sides = columns.reference[:, place], columns.batch[:, place]
        if place in columns.categorical:
            codes = int(max(side.max() for side in sides)) + 1
            counts = np.stack([np.bincount(side.astype(int), minlength=codes) for side in sides])
            chi2_contingency(counts[:, counts.sum(axis=0) > 0])
        else:
            ks_2samp(*sides, method="asymp")


if __name__ == "__main__":
    os.environ["SELFHEAL_HOME"] = sys.argv[1]
    calls = BareCalls(Path(sys.argv[1]), Path(sys.argv[2]))
    for name in sys.argv[3:]:
        wait_for_turn()
        say(**calls.measured(Path(name)), peak_mb=peak_mb())
