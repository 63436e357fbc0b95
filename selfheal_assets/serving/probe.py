"""Ask a loaded version what it was asked at its validation: its folder in, a proof or an error. Never swaps it in."""

import json
from hashlib import sha256
from pathlib import Path

from selfheal_assets.core.errors import ServingError
from selfheal_assets.core.golden_probe import DOCUMENT, GoldenProbe
from selfheal_assets.ports import Model


def probe_in(folder: Path) -> GoldenProbe:
    """What stands beside a version's files. Raises ServingError when it is not a whole probe."""
    try:
        document = json.loads((folder / f"{DOCUMENT}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = None
    except (OSError, ValueError) as error:
        raise ServingError(
            f"a golden probe must be readable JSON; received {folder.name} with {type(error).__name__}: {error}. "
            "Validate the version again."
        ) from error
    return GoldenProbe.read(document)


def require_same_files(folder: Path, probe: GoldenProbe) -> None:
    """Before a byte is parsed: raises ServingError unless every file is what it was at the validation."""
    for name, digest in probe.files.items():
        try:
            found = sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            found = f"{type(error).__name__}: {error}"
        if found != digest:
            raise ServingError(
                f"the files of a served version must be those that were validated; received another {name!r} of "
                f"version {folder.name}: SHA-256 {found} instead of {digest}. Restore it, or train another version."
            )


def require_same_answers(version: str, model: Model, probe: GoldenProbe) -> None:
    """Raises ServingError unless the model gives the scores that it gave at its validation."""
    try:
        contradiction = probe.contradiction(model.score_columns(probe.columns))
    except Exception as error:  # whatever it is, such a version cannot answer requests either
        contradiction = f"it cannot score them ({type(error).__name__}: {error})"
    if contradiction is not None:
        raise ServingError(
            f"a served version must answer its golden probe as at its validation; received version {version}, and "
            f"{contradiction}. Look for another release of xgboost, or train another version."
        )
