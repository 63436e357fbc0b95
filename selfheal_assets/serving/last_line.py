"""Remember who served last: a traffic in, a file; the traffic back at the next start. Never loads a version."""

import json
from dataclasses import asdict
from pathlib import Path

from selfheal_assets.core.errors import ServingError
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.durable import replaced


def remember(file: Path, traffic: Traffic) -> None:
    """Durable on return, whole or not at all. Raises ServingError when it cannot be written."""
    try:
        with replaced(file) as draft:
            draft.write_text(json.dumps(asdict(traffic), indent=1), encoding="utf-8")
    except OSError as error:
        raise ServingError(
            f"who serves must be written down for the next start; received {file} ({type(error).__name__}: {error}). "
            "See that there is room and a right to write."
        ) from error


def remembered(file: Path) -> Traffic | None:
    """None when nothing was written down, or nothing that can be read."""
    try:
        found = Traffic(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    names = (found.challenger, found.rollout, found.standby)
    known = isinstance(found.champion, str) and all(name is None or isinstance(name, str) for name in names)
    return found if known and isinstance(found.weight, float | int) else None
