"""Find the declared models, and check all that they declare. Never loads a batch."""

from pathlib import Path

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.errors import SelfhealError, SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.project import model_files
from selfheal_assets.wiring import Services


def declared_models(services: Services) -> list[ModelSpec]:
    """Every declared model, by root and name. Raises SpecError for the first file that cannot be read."""
    return [load_spec(path) for path in _files(services)]


def model_named(services: Services, name: str) -> ModelSpec:
    """The declared model of that name."""
    models = declared_models(services)
    for spec in models:
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in models) or "none"
    raise SpecError(f"A model must be declared before it is used; received {name!r}. Declared are: {known}.")


def _files(services: Services) -> list[Path]:
    return model_files(services.roots)


def mistakes(services: Services) -> dict[str, list[str]]:
    """Every mistake in every model's declarations, Feast objects and checks, by the model's file."""
    found: dict[str, list[str]] = {}
    names: dict[str, Path] = {}
    for path in _files(services):
        problems = found.setdefault(str(path), [])
        try:
            spec = load_spec(path)
        except SpecError as error:
            problems.extend(str(error).splitlines())
            continue
        if spec.name in names:
            problems.append(
                f"{path}:1: a model's name must be unique; received {spec.name!r}, also in {names[spec.name]}"
            )
        names.setdefault(spec.name, path)
        try:
            services.declared_checks(spec)
        except SelfhealError as error:
            problems.extend(str(error).splitlines())
        problems.extend(services.features.problems(spec))
    if not found:
        found["(no model)"] = ["at least one model must be declared; received none. Write a defs.yaml."]
    return found
