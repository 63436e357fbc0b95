"""Score rows by every version on trial, and pick whose score answers: features in, scores out. Never raises for one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from selfheal_assets.core.errors import ServingError
from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import Line, Table

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """What one version said of n rows."""

    version: str
    scores: list[float | None]
    """None where it failed: an error, or a value that is no probability."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose score answers a row."""

    arm: Arm
    version: str
    score: float


def score_arms(line: Line, columns: Table, rows: int) -> dict[Arm, Scored]:
    """Scores of the champion, and of the challenger where there is one, in the shadow or not."""
    asked = {Arm.CHAMPION: line.traffic.champion, Arm.CHALLENGER: line.traffic.challenger}
    return {arm: _score(line, version, columns, rows) for arm, version in asked.items() if version is not None}


def _score(line: Line, version: str, columns: Table, rows: int) -> Scored:
    began = perf_counter()
    try:
        given = line.models[version].score(columns).tolist()
        if len(given) != rows:
            raise ServingError(
                f"A model must give one score a row; received {len(given)} for {rows} rows of {version}."
            )
        # NaN fails the comparison too.
        scores = [score if 0.0 <= score <= 1.0 else None for score in given]
    except Exception:  # whatever a model does, the other one can answer
        _log.exception("version %s could not score", version)
        scores = [None] * rows
    return Scored(version, scores, perf_counter() - began)


def choose(line: Line, keys: Sequence[str], scored: dict[Arm, Scored]) -> list[Choice]:
    """One choice a key. Where the challenger failed, the champion answers; raises ServingError where it failed too."""
    choices = []
    for row, key in enumerate(keys):
        for arm in dict.fromkeys((line.traffic.arm(key), Arm.CHAMPION)):
            score = scored[arm].scores[row]
            if score is not None:
                choices.append(Choice(arm, scored[arm].version, score))
                break
        else:
            raise ServingError(
                f"A model must score every valid row; version {scored[Arm.CHAMPION].version} failed. See its log."
            )
    return choices
