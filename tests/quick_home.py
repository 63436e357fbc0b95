"""A home for whole loops in the tests' own process: no pages, no pictures, no waiting for the disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from no_settings import forget_settings

from selfheal_assets.adapters import gx_data_docs
from selfheal_assets.operations.home import initialise
from selfheal_assets.stages import plots
from selfheal_assets.wiring import Services


@contextmanager
def quick_home(home: Path) -> Iterator[Services]:
    """Initialised. Pages and pictures are half of a small batch's time, and have tests of their own."""

    def without_waiting(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        patch.setattr(gx_data_docs, "publish", lambda *_: None)
        patch.setattr(plots, "as_markdown", lambda *_: "a plot")
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", without_waiting)
        try:
            yield initialise(home)
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "connect", without_waiting)
