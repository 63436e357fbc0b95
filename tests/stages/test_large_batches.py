"""Every stage of an ingest gives the same for a batch of many parts as for one of a single part."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from quick_home import quick_home, small

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.evidence import Evidence
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.ports import batch_rows
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages import check_data, drift_frames, features, observe, stored_columns
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.checked_rows import judged_rows
from selfheal_assets.stages.drift_evidence import measured_drift
from selfheal_assets.stages.estimated_evidence import estimated_evidence
from selfheal_assets.stages.label_evidence import measured_labels
from selfheal_assets.stages.stored_columns import features_of, scored_by, scores_of

pytestmark = pytest.mark.usefixtures("quick_collections")

ROWS, PART, SAMPLE = 900, 300, 150
WORLD = PaymentsWorld(seed=3)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    """A champion, and a partly bad batch after it."""
    with quick_home(tmp_path_factory.mktemp("large") / "home") as services, dg.DagsterInstance.get() as instance:
        loop = InProcessLoop(services, small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml")), instance)
        for index in range(3):
            drop(WORLD.batch(index, ROWS, Regime.HEALTHY), services.batches.landing("payments"), f"{index}.parquet")
        loop.settle()
        assert champion(services, loop.spec) is not None
        yield loop


@pytest.fixture(scope="module")
def batch_id(loop: InProcessLoop) -> str:
    rows = WORLD.batch(3, ROWS, Regime.HEALTHY).reset_index(drop=True)
    rows.loc[[0, PART - 1, PART, ROWS - 1], "amount"] = np.nan
    rows.loc[2 * PART, "payment_id"] = rows.loc[PART - 2, "payment_id"]
    file = drop(rows, loop.services.batches.landing("payments"), "3.parquet")
    batch_id = loop.services.batches.batch_id(file)
    assert loop.tick("arrivals")
    return batch_id


def kept(loop: InProcessLoop, batch_id: str) -> dict[str, Any]:
    """Every stage over the batch once more: what stands in the files then, and what is measured."""
    services, spec, name = loop.services, loop.spec, loop.spec.name
    raw = services.batches.rows(name, "raw", batch_id)
    judged = judged_rows(services, spec, services.declared_checks(spec), batch_id, raw)
    check_data._write(services, spec, batch_id, judged)
    published = features._publish(services, spec, batch_id)
    serving = champion(services, spec)
    assert serving is not None
    model = services.registry.load(serving)
    mean = observe._score(
        services, spec, batch_id, services.batches.rows(name, "features", batch_id), model, serving.version
    )
    scores = scores_of(services, spec, batch_id)
    evidence: list[Evidence] = [
        *measured_drift(services, spec, batch_id, scores)[0],
        estimated_evidence(services, spec, batch_id, scores),
        *measured_labels(services, spec, batch_id, scores),
    ]
    offline = pd.read_parquet(services.home / "features" / name / f"{batch_id}.parquet")
    quarantined, reason = services.batches.read_quarantine(name, batch_id)
    tables = {stage: services.batches.read(name, stage, batch_id) for stage in ("raw", "clean", "features", "scores")}
    return {
        "tables": {**tables, "quarantine": quarantined, "offline": offline},
        "reason": {key: value for key, value in reason.items() if key != "at"},
        # Without the reasons: some say the time of the check.
        "outcomes": [(o.check.name, o.status, o.observed, o.failing_rows, o.sample) for o in judged.outcomes],
        "judgement": judged.judgement,
        "heads": [judged.head(5).to_dict("list"), judged.head(10, clean=False).to_dict("list")],
        "published": published["dagster/row_count"],
        "mean": mean,
        "evidence": [one.reason for one in evidence],
        "values": [(one.signal, one.status, one.value, one.strength, one.sample_size) for one in evidence],
        "others": scored_by(services, spec, batch_id, model).tolist(),
    }


def test_by_parts_as_in_one(loop: InProcessLoop, batch_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (drift_frames, stored_columns):
        monkeypatch.setattr(module, "BATCH_ROWS", SAMPLE)
    whole = kept(loop, batch_id)
    monkeypatch.setattr(batch_rows, "PART_ROWS", PART)
    parts = kept(loop, batch_id)
    for stage, table in whole.pop("tables").items():
        pd.testing.assert_frame_equal(parts["tables"][stage], table, obj=stage)
    for name, value in whole.items():
        assert str(parts[name]) == str(value), name
    assert whole["judgement"].verdict == "PARTIAL"
    assert set(whole["judgement"].bad_rows) >= {0, PART - 2, PART - 1, PART, 2 * PART, ROWS - 1}
    assert len(parts["tables"]["clean"]) + len(parts["tables"]["quarantine"]) == ROWS


def test_a_sample_is_that_of_the_whole(loop: InProcessLoop, batch_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = loop.services.features.names(loop.spec)
    monkeypatch.setattr(stored_columns, "BATCH_ROWS", SAMPLE)
    chosen = np.arange(len(scores_of(loop.services, loop.spec, batch_id))) % 3 > 0
    for where in (None, chosen):
        whole = features_of(loop.services, loop.spec, batch_id, names, where)
        expected = whole.sample(SAMPLE, random_state=drift_frames.SAMPLE_SEED).reset_index(drop=True)
        with monkeypatch.context() as patched:
            patched.setattr(batch_rows, "PART_ROWS", PART)
            pd.testing.assert_frame_equal(features_of(loop.services, loop.spec, batch_id, names, where), expected)


def test_a_batch_that_is_held_keeps_every_part(
    loop: InProcessLoop, batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its ingest cannot be ended, the rows go to quarantine part by part, and nothing else of it stays."""
    monkeypatch.setattr(batch_rows, "PART_ROWS", PART)
    batches = loop.services.batches
    assert batches.quarantine_whole("payments", batch_id, "3.parquet", "too large") == ROWS
    rows, reason = batches.read_quarantine("payments", batch_id)
    pd.testing.assert_frame_equal(rows, batches.read("payments", "raw", batch_id))
    assert reason["reasons"] == ["too large"]
    assert not batches.has("payments", "clean", batch_id)
