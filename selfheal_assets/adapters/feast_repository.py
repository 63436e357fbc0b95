"""Loads what feature_repo folders declare and registers it with Feast. Never reads or writes feature values."""

import hashlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.feast_import import import_feast, metrics_in_memory
from selfheal_assets.adapters.feast_stores import FeastStores
from selfheal_assets.core.errors import FeatureError, SpecError
from selfheal_assets.secrecy import discreet

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore
    from feast.repo_config import RepoConfig

REPOSITORY = "feature_repo"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Feast's prints, progress bars and deprecation warnings off the terminal."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def translated(doing: str, remedy: str) -> Iterator[None]:
    """Turn what Feast, DuckDB or SQLite raise into a FeatureError."""
    try:
        yield
    except (FeatureError, SpecError):
        raise
    except Exception as error:
        cause = (str(error).strip() or repr(error)).splitlines()[0]
        raise FeatureError(f"{doing} must succeed; {type(error).__name__}: {discreet(cause)}. {remedy}") from error


@dataclass(frozen=True)
class ServicePlan:
    """What a feature service asks for, taken apart."""

    features: tuple[str, ...]
    """In the order of the service."""
    history: tuple[Any, ...] = ()
    """The feature views with published history, those behind on-demand views included."""
    on_demand: tuple[Any, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Request columns that on-demand views compute from, with their Feast types."""

    @property
    def join_keys(self) -> dict[str, str]:
        """Join key -> Feast type, over all history views."""
        return {key.name: str(key.dtype) for view in self.history for key in view.entity_columns}

    @property
    def stored(self) -> dict[str, dict[str, str]]:
        """History view -> its features that are needed, by the service or by an on-demand view -> Feast type."""
        computed_from = {
            (source.name, feature.name)
            for view in self.on_demand
            for source in view.source_feature_view_projections.values()
            for feature in source.features
        }
        return {
            view.name: {
                feature.name: str(feature.dtype)
                for feature in view.features
                if feature.name in self.features or (view.name, feature.name) in computed_from
            }
            for view in self.history
        }


def plan_service(service: "FeatureService", views: Mapping[str, Any]) -> ServicePlan:
    """Resolve the service's views by name; KeyError for a view that is not among `views`."""
    from feast import OnDemandFeatureView

    features: list[str] = []
    history: dict[str, Any] = {}
    on_demand: list[Any] = []
    inputs: dict[str, str] = {}
    for projection in service.feature_view_projections:
        features += [feature.name for feature in projection.features]
        view = views[projection.name]
        if not isinstance(view, OnDemandFeatureView):
            history[view.name] = view
            continue
        on_demand.append(view)
        history |= {name.name: views[name.name] for name in view.source_feature_view_projections.values()}
        for request in view.source_request_sources.values():
            inputs |= {column.name: str(column.dtype) for column in request.schema}
    return ServicePlan(tuple(features), tuple(history.values()), tuple(on_demand), inputs)


@dataclass(frozen=True)
class Declared:
    """The Feast objects of all repositories, and what is wrong with their files."""

    objects: tuple[Any, ...]
    problems: tuple[str, ...]

    def services(self) -> "dict[str, FeatureService]":
        from feast import FeatureService

        return {thing.name: thing for thing in self.objects if isinstance(thing, FeatureService)}

    def views(self) -> dict[str, Any]:
        from feast.base_feature_view import BaseFeatureView

        return {thing.name: thing for thing in self.objects if isinstance(thing, BaseFeatureView)}


@contextmanager
def _isolated_imports(folders: Sequence[Path], home: Path) -> Iterator[None]:
    """Import from `folders` under plain names (`entities`, `views.payments`), leaving no trace afterwards.

    Two repositories may both have an `entities.py`: neither must meet the other's in `sys.modules`.
    """
    names = {path.stem for folder in folders if folder.is_dir() for path in folder.iterdir()}

    def take_out() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}

    before_home, before_path, before_modules = os.environ.get("SELFHEAL_HOME"), list(sys.path), take_out()
    sys.path[:0] = [str(folder) for folder in folders]
    os.environ["SELFHEAL_HOME"] = str(home)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        take_out()
        sys.modules.update(before_modules)
        sys.path[:] = before_path
        os.environ.pop("SELFHEAL_HOME", None)
        if before_home is not None:
            os.environ["SELFHEAL_HOME"] = before_home


def load_declared(roots: Sequence[Path], home: Path) -> Declared:
    """Import every module of every root's feature_repo; an overlay may import the first root's modules too."""
    objects: dict[tuple[str, str], Any] = {}
    problems: list[str] = []
    for root in roots:
        folder = root / REPOSITORY
        with (
            _isolated_imports(list(dict.fromkeys([folder, roots[0] / REPOSITORY])), home),
            quiet(),
            metrics_in_memory(),
        ):
            for path in sorted(folder.rglob("*.py")):
                try:
                    module = importlib.import_module(".".join(path.relative_to(folder).with_suffix("").parts))
                    _collect(vars(module).values(), path, objects, problems)
                except Exception as error:
                    problems.append(f"{path} must import; {type(error).__name__}: {error}. Correct the file.")
    return Declared(tuple(objects.values()), tuple(problems))


def _collect(values: Any, path: Path, objects: dict[tuple[str, str], Any], problems: list[str]) -> None:
    from feast import Entity, FeatureService
    from feast.base_feature_view import BaseFeatureView
    from feast.data_source import DataSource

    for kind in (Entity, DataSource, BaseFeatureView, FeatureService):
        for thing in values:
            if not isinstance(thing, kind):
                continue
            known = objects.setdefault((kind.__name__, thing.name), thing)
            # The same declaration, seen again through an import, is equal.
            if known is not thing and known != thing:
                problems.append(
                    f"{kind.__name__} names must be unique over all feature_repo folders; received another "
                    f"{thing.name!r} in {path}. Rename one of them."
                )


def open_store(roots: Sequence[Path], home: Path, stores: FeastStores) -> "FeatureStore":
    """The store of the first feature_store.yaml among the roots, with the places of `stores`."""
    import_feast()
    from feast import FeatureStore

    path = next((root / REPOSITORY / "feature_store.yaml" for root in roots if _has_configuration(root)), None)
    if path is None:
        raise SpecError(
            f"One repository must hold {REPOSITORY}/feature_store.yaml; received {[str(root) for root in roots]}. "
            "Add the file to the first of them."
        )
    (home / "feast").mkdir(parents=True, exist_ok=True)
    with _isolated_imports([], home), quiet(), translated(f"Opening Feast by {path}", "Correct the file."):
        return FeatureStore(config=_configuration(path, stores))


def _configuration(path: Path, stores: FeastStores) -> "RepoConfig":
    """As Feast reads its file."""
    import yaml
    from feast.repo_config import RepoConfig

    content = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
    config = RepoConfig(**stores.applied(content))
    config.repo_path = path.parent
    return config


def _has_configuration(root: Path) -> bool:
    return (root / REPOSITORY / "feature_store.yaml").is_file()


def fingerprint(roots: Sequence[Path], home: Path, stores: FeastStores) -> str:
    """Changes with any Python or YAML file of the repositories, with Feast, the home and the places of `stores`."""
    from importlib.metadata import version

    digest = hashlib.sha256(f"{version('feast')}\0{home}\0{stores.fingerprint()}".encode())
    for root in roots:
        folder = root / REPOSITORY
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"\0{path.relative_to(folder)}\0{content}".encode())
    return digest.hexdigest()
