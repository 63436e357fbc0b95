"""Put a line together: the traffic that is wanted and the line that stands in, a line out. Never replaces one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports import Clock, Line, ServedModel
from selfheal_assets.serving.loading import Loader


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A version that is wanted and cannot serve."""

    version: str
    reason: str
    at: datetime
    """When it was last tried."""
    passing: bool
    """Whether the registry is to blame, and not the version."""


class Assembler:
    """Loads the versions of a traffic, and remembers which of them failed."""

    def __init__(self, loader: Loader, clock: Clock, retry_seconds: float) -> None:
        """A version that failed by itself is not loaded again for `retry_seconds`."""
        self._loader, self._clock, self._retry = loader, clock, timedelta(seconds=retry_seconds)
        self._failed: Mapping[str, Trouble] = {}

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Of the traffic that was last wanted."""
        return tuple(self._failed.values())

    def assemble(self, wanted: Traffic, standing: Line | None, *, anew: bool = False) -> Line | None:
        """The wanted line without what cannot serve; where that is the champion, what of the standing line may stay.

        None when nothing may serve; `anew` tries also what failed a moment ago.
        """
        models, failed = dict[str, ServedModel](), dict[str, Trouble]()
        for version in versions_of(wanted):
            found = self._model(version, standing, anew)
            if isinstance(found, Trouble):
                failed[version] = found
            else:
                models[version] = found
        self._failed = failed
        if wanted.champion in models:
            return unless_same(line_of(wanted, models), standing)
        return None if standing is None else without_old_trial(standing, wanted)

    def _model(self, version: str, standing: Line | None, anew: bool) -> ServedModel | Trouble:
        if standing is not None and version in standing.models:
            return standing.models[version]
        known, now = self._failed.get(version), self._clock.now()
        # A clock that was set back must not keep a version out.
        if known is not None and not anew and not known.passing and timedelta(0) <= now - known.at < self._retry:
            return known
        try:
            return self._loader.load(version)
        except Exception as error:  # one version's trouble is not the others'
            return Trouble(
                version=version,
                reason=f"{type(error).__name__}: {error}",
                at=now,
                passing=isinstance(error, RegistryError),
            )


def versions_of(traffic: Traffic) -> list[str]:
    """Champion first, then challenger and standby where there are."""
    named = (traffic.champion, traffic.challenger, traffic.standby)
    return list(dict.fromkeys(version for version in named if version is not None))


def line_of(traffic: Traffic, models: Mapping[str, ServedModel]) -> Line:
    """The traffic as far as there are models for it: without its challenger a rollout does not take place here."""
    if traffic.challenger is not None and traffic.challenger not in models:
        traffic = replace(traffic, challenger=None, weight=0.0, rollout=None)
    if traffic.standby is not None and traffic.standby not in models:
        traffic = replace(traffic, standby=None)
    return Line(traffic=traffic, models={version: models[version] for version in versions_of(traffic)})


def without_old_trial(standing: Line, wanted: Traffic) -> Line:
    """The standing line for want of a better one; a challenger whose trial is over answers nobody any more."""
    traffic = standing.traffic
    if traffic.challenger is None or (traffic.challenger, traffic.rollout) == (wanted.challenger, wanted.rollout):
        return standing
    return line_of(replace(traffic, challenger=None, weight=0.0, rollout=None), standing.models)


def unless_same(line: Line, standing: Line | None) -> Line:
    """The very line that stands, where nothing changes."""
    same = standing is not None and standing.traffic == line.traffic and standing.models == line.models
    return standing if same and standing is not None else line
