"""The electricity example on the real public stream, around the weeks in which Victoria joined the market."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = ROOT.parent / "shared" / "data" / "elec2.csv"
FIRST_WEEK, WEEKS = 42, 22
"""From before the change of the market, in week 52, until well after it."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not PUBLIC.is_file(), reason=f"the public Elec2 data is not at {PUBLIC}: see examples/electricity"),
]


@pytest.fixture(scope="module")
def stream() -> ModuleType:
    found = importlib.util.spec_from_file_location("electricity_stream", ROOT / "benchmarks" / "electricity_stream.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Dataclasses look their module up.
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def played(stream: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    before = dict(os.environ)
    with stream.overlay():
        weeks = stream.weekly_batches(PUBLIC, FIRST_WEEK + WEEKS)[FIRST_WEEK:]
        *_, last = stream.play(weeks, tmp_path_factory.mktemp("electricity"), backlog=12)
        yield last
    os.environ.clear()
    os.environ.update(before)
