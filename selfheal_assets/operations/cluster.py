"""An operator's dealings with the model servers of a cluster: look, restart, scale, share, go back. Judges nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from selfheal_assets.core.errors import RegistryError
from selfheal_assets.ports import ModelRegistry, Release
from selfheal_assets.stages.champion import CHAMPION


class Progress(Protocol):
    """How far a Deployment is."""

    @property
    def done(self) -> bool: ...
    @property
    def words(self) -> str: ...


class Recorded(Protocol):
    """What the release ConfigMap says."""

    @property
    def serving(self) -> Release | None: ...
    @property
    def previous(self) -> Release | None: ...


class Releases(Protocol):
    """What can be changed of them; `adapters.cluster_releases` does it."""

    def progress(self, model: str) -> Mapping[str, Progress]: ...
    def weights(self, model: str) -> Mapping[str, int]: ...
    def recorded(self, model: str) -> Recorded: ...
    def roll_back(self, model: str, decision_id: str) -> Release: ...


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The servers of a model, as an operator sees them."""

    tracks: Mapping[str, str]
    """By track: how far it is, in words."""
    weights: Mapping[str, int]
    """Percent of the requests."""
    release: Recorded


def standing(releases: Releases, model: str) -> Standing:
    """How they are."""
    words = {track: one.words for track, one in releases.progress(model).items()}
    return Standing(tracks=words, weights=releases.weights(model), release=releases.recorded(model))


def go_back(releases: Releases, registry: ModelRegistry, model: str, decision_id: str) -> Release:
    """The cluster's record on the release before the present one, and the champion's alias on its version.

    For when Dagster is away: otherwise the job `<model>_rollback` does it, and writes it into the ledger. Done twice
    for one decision it goes back once. Raises RegistryError when the registry does not know that run, ServingError
    when none is recorded.
    """
    by_run = {version.run_id: version for version in registry.versions(model)}
    wanted = releases.recorded(model).previous
    if wanted is not None and wanted.run_id not in by_run:
        raise RegistryError(
            f"A run must be of a registered version to be gone back to; received {wanted.run_id} of {model}, which "
            "is not. Was its version deleted? Restore it, or retrain."
        )
    standing = releases.roll_back(model, decision_id)
    serving = registry.by_alias(model, CHAMPION)
    expected = None if serving is None else serving.version
    registry.move_alias(model, CHAMPION, by_run[standing.run_id].version, expected=expected)
    return standing
