"""Keep what a version answered on a few held-out rows with the version: rows and scores in. Never judges them."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.golden_probe import DOCUMENT, ROWS, GoldenProbe
from selfheal_assets.ports import ModelRegistry, ModelVersion

if TYPE_CHECKING:
    import pandas as pd


def keep_probe(registry: ModelRegistry, version: ModelVersion, features: "pd.DataFrame", score: "np.ndarray") -> None:
    """At most `ROWS` of the (n, features) rows, evenly spaced, with their (n,) scores: a server that loads the version
    must get them too, from the same files. Without a row nothing is kept, and no server takes the version."""
    if not len(features):
        return
    chosen = np.unique(np.linspace(0, len(features) - 1, ROWS).round().astype(int))
    rows = features.iloc[chosen]
    probe = GoldenProbe(
        columns={str(name): rows[name].tolist() for name in rows.columns},
        scores=score[chosen].tolist(),
        files=_digests(registry.folder(version)),
    )
    registry.keep(version, DOCUMENT, probe.document())


def _digests(folder: Path) -> dict[str, str]:
    # All but the probe of an earlier validation.
    files = [file for file in sorted(folder.iterdir()) if file.name != f"{DOCUMENT}.json"]
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in files}
