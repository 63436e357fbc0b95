"""Compare the features of a rehearsal with those that Feast gives for the same payments."""

from pathlib import Path

import pandas as pd

from selfheal_assets.adapters.feast_features import FeastFeatures
from selfheal_assets.project import PROJECT
from selfheal_assets.rehearsal.declared import model_named
from selfheal_assets.rehearsal.payments_features import PaymentsFeatures
from selfheal_assets.simulator.payments import PaymentsWorld, Regime


def test_a_rehearsal_computes_what_feast_answers(tmp_path: Path) -> None:
    spec = model_named("payments")
    folder = tmp_path / "clean" / spec.name
    folder.mkdir(parents=True)
    feast = FeastFeatures(tmp_path, [PROJECT], lambda _model: sorted(folder.glob("*.parquet")))
    feast.apply()
    world, rehearsed = PaymentsWorld(seed=3, accounts=20), PaymentsFeatures(spec.features.request)
    for index in range(3):
        rows = world.batch(index, 200, Regime.HEALTHY)
        rows["event_timestamp"] = rows["event_timestamp"].dt.as_unit("us")
        rows.to_parquet(folder / f"b{index}.parquet")
        feast.publish(spec, f"b{index}", rows)
        computed = rehearsed(rows)
    assert list(rehearsed.names) == feast.names(spec)
    expected = feast.historical(spec, rows)
    assert expected["amount_ratio"].notna().mean() > 0.9
    pd.testing.assert_frame_equal(computed[feast.names(spec)], expected, check_dtype=False)
