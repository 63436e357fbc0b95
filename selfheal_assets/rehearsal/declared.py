"""Find a declared model without a home: a name in, its ModelSpec out. Never loads Dagster."""

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.project import model_files, roots_from_environment


def model_named(name: str) -> ModelSpec:
    """The declared model of that name; raises SpecError with the names that there are."""
    models = [load_spec(path) for path in model_files(roots_from_environment())]
    for spec in models:
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in models) or "none"
    raise SpecError(f"A model must be declared before it is rehearsed; received {name!r}. Declared are: {known}.")
