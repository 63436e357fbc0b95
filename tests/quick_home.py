"""Whole loops in the tests' own process: a home without pages, pictures and waiting for the disk; a small model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from no_settings import forget_settings

from selfheal_assets.adapters import gx_data_docs
from selfheal_assets.core.model_spec import ModelSpec
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


def small(spec: ModelSpec, **policy: Any) -> ModelSpec:
    """With a study of seconds, and a gate that lets a sound model of few rows pass."""
    return replace(
        spec,
        training=replace(spec.training, trials=2, windows=(2,), min_rows=600, max_boost_rounds=40),
        performance=replace(spec.performance, min_rows=100),
        drift=replace(spec.drift, detector="scipy", min_rows=100),
        gate=replace(
            spec.gate, metric_floor=0.6, margin=0.1, max_slice_drop=0.5, max_calibration_error=0.3, max_latency_ms=1e4
        ),
        policy=replace(spec.policy, cooldown_minutes=0.0, heals_per_day=99, **policy),
    )
