"""Answer a probe: canned rows go through features and champion, and must score as they did. Never logs or counts it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Lock
from time import monotonic, perf_counter
from typing import Any

from pydantic import BaseModel

from selfheal_assets.ports.serving import FeatureLevel, ServedModel
from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.schemas import KINDS

FRESH_SECONDS = 0.5
"""An answer so young is given again, so that nobody keeps a server busy with probes."""
CANNED: Mapping[str, Any] = {
    "string": "selfheal-probe",
    "float": 0.0,
    "integer": 0,
    "boolean": False,
    "timestamp": datetime(1970, 1, 1, tzinfo=UTC),
}
"""An entity that nobody has: that the feature store knows nothing of it is an answer, too."""


class ProbeAnswer(BaseModel):
    """How the server answered rows whose scores are known."""

    ok: bool
    version: str | None
    level: FeatureLevel | None
    """Where the features of a canned entity came from."""
    milliseconds: float
    problem: str | None


class Probing:
    """Of one server process. For many threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = Lock()
        self._last: tuple[float, ProbeAnswer] | None = None

    def __call__(self) -> ProbeAnswer:
        """At most one at a time; never raises for what a part does."""
        with self._lock:
            if self._last is None or monotonic() - self._last[0] > FRESH_SECONDS:
                answer = self._probed()
                self._last = (monotonic(), answer)
            return self._last[1]

    def _probed(self) -> ProbeAnswer:
        line = self._parts.lines.line
        if line is None:
            return _failed(None, "No model stands ready yet.", 0.0)
        model, began = line.models[line.traffic.champion], perf_counter()
        try:
            level = self._level(model)
            contradiction = model.probe.contradiction(model.score(model.probe.columns))
        except Exception as error:  # whatever it is, a request would meet it too
            return _failed(model.version, f"{type(error).__name__}: {error}", began)
        if contradiction is not None:
            return _failed(model.version, contradiction, began)
        return ProbeAnswer(ok=True, version=model.version, level=level, milliseconds=_since(began), problem=None)

    def _level(self, model: ServedModel) -> FeatureLevel:
        types, known = self._parts.types, model.probe.columns
        entities = {name: [CANNED[KINDS[kind.lower()]]] for name, kind in types.entities.items()}
        request = {name: list(known.get(name, [None]))[:1] for name in types.request}
        return self._parts.features.resolve(entities, request, self._parts.clock.now()).levels[0]


def _failed(version: str | None, problem: str, began: float) -> ProbeAnswer:
    milliseconds = _since(began) if began else 0.0
    return ProbeAnswer(ok=False, version=version, level=None, milliseconds=milliseconds, problem=problem)


def _since(began: float) -> float:
    return 1000.0 * (perf_counter() - began)
