"""Views on a warehouse's tables beside those on published files: declared, registered, and left to their owners."""

from pathlib import Path

import pandas as pd
from feast_world import FeastWorld, model, payments

from selfheal_assets.adapters.feast_features import FeastFeatures
from selfheal_assets.adapters.feast_frames import files_of

WAREHOUSE = """
from datetime import timedelta

from entities import account
from feast import FeatureService, FeatureView, Field, SnowflakeSource
from feast.types import Float64, String

risk = FeatureView(
    name="account_risk",
    entities=[account],
    ttl=timedelta(days=30),
    schema=[Field(name="account_id", dtype=String), Field(name="risk", dtype=Float64)],
    source=SnowflakeSource(name="risk", database="D", schema="S", table="RISK", timestamp_field="at"),
)
warehouse_v1 = FeatureService(name="warehouse_v1", features=[risk])
"""


def declared(folder: Path) -> FeastFeatures:
    world = FeastWorld(folder)
    (world.roots[1] / "feature_repo" / "views" / "warehouse.py").write_text(WAREHOUSE)
    return world.features


def test_a_view_may_read_a_warehouse_whose_tables_are_filled_by_others(tmp_path: Path) -> None:
    features = declared(tmp_path)
    spec = model("warehouse_v1")
    assert features.problems(spec) == []
    features.apply()
    assert features.names(spec) == ["amount", "channel", "risk"]
    published = features.publish(spec, "b1", payments(20))
    assert (dict(published.offline_rows), published.online_rows) == ({}, 0)
    assert not list((tmp_path / "home" / "features" / "payments").glob("b1*"))


def test_a_view_on_files_must_read_those_that_are_published(tmp_path: Path) -> None:
    from feast import FeatureView, FileSource, SnowflakeSource

    table = SnowflakeSource(name="t", database="D", schema="S", table="T", timestamp_field="at")
    files = FileSource(name="f", path=str(tmp_path / "elsewhere" / "*.parquet"), timestamp_field="at")
    assert files_of(FeatureView(name="v", source=files, ttl=pd.Timedelta(days=1))) == tmp_path / "elsewhere"
    assert files_of(FeatureView(name="w", source=table, ttl=pd.Timedelta(days=1))) is None
