"""A home of its own for every test that needs one, quiet, and without the network."""

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from no_settings import forget_settings
from servers import ObjectStore, Postgres, Redis, object_store, postgres_server, redis_server

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

ROOT = Path(__file__).resolve().parent.parent
LONG = ("e2e", "stages", "serving", "sensors", "operations", "rehearsal")
"""Folders whose files take longest: a worker that begins them last works on alone at the end."""
FIRST, LAST = "test_stack.py", "test_demo.py"
"""Demonstrations on a daemon of their own: two at once would take twice as long each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[bool, bool, int]:
        name, folder = item.path.name, item.path.parent.name
        return name != FIRST, name == LAST, LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=place)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh SELFHEAL_HOME; the environment is put back afterwards."""
    forget_settings(monkeypatch)
    return tmp_path / "home"


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Collections of garbage look at what the test makes alone: by then a worker may hold a million other objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectStore]:
    with object_store() as server:
        yield server
