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


def check_folders(roots: Iterable[Path]) -> list[Path]:
    """Where the roots keep their checks files."""
    return [root / "dbt_like_checks" for root in roots]
