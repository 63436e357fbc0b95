"""Where things are: the home with all state, and the folders that declare models. Reads only the environment."""

import os
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MODELS = Path("selfheal_assets") / "defs" / "models"
"""Where a root keeps one folder a model, each with its defs.yaml."""


def home_from_environment() -> Path:
    """SELFHEAL_HOME, by default `.selfheal` in the working directory."""
    return Path(os.environ.get("SELFHEAL_HOME", ".selfheal")).expanduser().absolute()


def may_read(file: Path) -> bool:
    """Whether a person who launches runs may have the file read. With SELFHEAL_ENV=production: only one of the home.

    Elsewhere that person has the rights of the process anyway; there, a file of Secrets is within its reach.
    """
    confined = os.environ.get("SELFHEAL_ENV") == "production"
    return not confined or file.expanduser().resolve().is_relative_to(home_from_environment().resolve())


def overlays_from_environment() -> tuple[Path, ...]:
    """SELFHEAL_OVERLAYS: folders, in the layout of the project, that declare further models."""
    parts = os.environ.get("SELFHEAL_OVERLAYS", "").split(os.pathsep)
    return tuple(Path(part).expanduser().absolute() for part in parts if part)


def roots_from_environment() -> tuple[Path, ...]:
    """The project, then the overlays."""
    return (PROJECT, *overlays_from_environment())


def declarations(root: Path) -> list[Path]:
    """Every defs.yaml of a root, by name. An overlay may keep its models in `models/` right below itself."""
    return sorted([*root.glob(f"{MODELS}/*/defs.yaml"), *root.glob("models/*/defs.yaml")])


def model_files(roots: Iterable[Path]) -> list[Path]:
    """The defs.yaml of every declared model, by root and name.

    A folder that a later root has too counts as that root has it: an overlay may declare a model of the project again,
    with other limits. Its features and checks stay those of the project.
    """
    found: list[Path] = []
    for root in roots:
        own = declarations(root)
        again = {path.parent.name for path in own}
        found = [path for path in found if path.parent.name not in again] + own
    return found


def check_folders(roots: Iterable[Path]) -> list[Path]:
    """Where the roots keep their checks files."""
    return [root / "dbt_like_checks" for root in roots]
