"""Load versions for serving: a version's number in, a model that answered its probe out. Never decides who serves."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import RegistryError, ServingError
from selfheal_assets.core.golden_probe import GoldenProbe
from selfheal_assets.ports import Clock, Model, ModelRegistry, ModelVersion, Table
from selfheal_assets.serving.model_cache import CachedVersion, ModelCache
from selfheal_assets.serving.probe import probe_in, require_same_answers, require_same_files

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedVersion:
    """A model beside what it is. Implements `ports.ServedModel`."""

    version: str
    run_id: str
    loaded_at: datetime
    model: Model
    probe: GoldenProbe

    def score(self, columns: Table) -> "np.ndarray":
        """(n,) probabilities of the label 1. Raises TrainingError for columns that cannot be used."""
        return self.model.score_columns(columns)


class Loader:
    """Versions of one model, through a copy on this machine."""

    def __init__(
        self,
        model: str,
        *,
        registry: ModelRegistry,
        read: Callable[[Path], Model],
        cache: ModelCache,
        clock: Clock,
    ) -> None:
        """`read` opens a folder with a version's files, and raises a SelfhealError when it holds no model."""
        self._model, self._registry, self._read, self._cache, self._clock = model, registry, read, cache, clock

    def load(self, version: str) -> LoadedVersion:
        """Raises ServingError for a version that must not serve; RegistryError when the registry cannot give it, and
        no copy of it is on this machine."""
        try:
            registered = self._registered(version)
        except RegistryError:
            if self._cache.find(version) is None:
                raise
            return self.from_cache(version)
        cached = self._cache.find(version, registered.run_id)
        if cached is not None:
            try:
                return self._opened(cached)
            except ServingError as error:
                _log.warning("the copy of version %s is made anew: %s", version, error)
                self._cache.drop(cached)
        fresh = self._cache.put(registered, self._registry.folder(registered))
        try:
            return self._opened(fresh)
        except ServingError:
            self._cache.drop(fresh)
            raise

    def from_cache(self, version: str) -> LoadedVersion:
        """Without the registry. Raises ServingError when there is no good copy."""
        cached = self._cache.find(version)
        if cached is None:
            raise ServingError(
                f"a version must be on this machine to be served without the registry; received {self._model} version "
                f"{version}, which is not. Bring the registry back."
            )
        return self._opened(cached)

    def prune(self, needed: Collection[str]) -> None:
        """Remove old copies from this machine, but none of the versions that are needed."""
        self._cache.prune(needed)

    def _registered(self, version: str) -> ModelVersion:
        for found in self._registry.versions(self._model):
            if found.version == version:
                return found
        raise ServingError(
            f"a version must be registered to be served; received {self._model} version {version}, which is not. "
            "Look at the alias and at the rollout."
        )

    def _opened(self, cached: CachedVersion) -> LoadedVersion:
        probe = probe_in(cached.folder)
        require_same_files(cached.folder, probe)
        try:
            model = self._read(cached.folder)
        except Exception as error:  # whatever the files do to the library that reads them, the server goes on
            raise ServingError(
                f"the files of a served version must be a model; received version {cached.version} "
                f"({type(error).__name__}: {error}). Train another version."
            ) from error
        require_same_answers(cached.version, model, probe)
        now = self._clock.now()
        return LoadedVersion(version=cached.version, run_id=cached.run_id, loaded_at=now, model=model, probe=probe)
