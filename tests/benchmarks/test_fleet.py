"""The fleet benchmark with three models: what is declared loads and ticks, and a past is as the loop writes it."""

from pathlib import Path

import pytest
from fleet import BEGIN, END, LOADED, age_table, report, use_fleet
from fleet_history import batch_ids, set_live, write_past
from fleet_ticks import Daemon
from fleet_world import names, write_fleet
from markdown import publish_between

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.incident import ENDED
from selfheal_assets.core.record import RecordKind
from selfheal_assets.stages.batch_records import learnable_batches
from selfheal_assets.stages.situation import gather
from selfheal_assets.wiring import Services


@pytest.fixture
def daemon_of_three(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    import dagster as dg

    for variable in ("SELFHEAL_HOME", "SELFHEAL_OVERLAYS", "DAGSTER_HOME"):
        monkeypatch.setenv(variable, str(home))
    use_fleet(tmp_path / "fleet", 2)
    return Daemon(dg.DagsterInstance.get(), "")


def test_three_models_tick_like_one_and_keep_their_cursors(daemon_of_three: Daemon) -> None:
    daemon_of_three.meet()
    first, second = daemon_of_three.round(0), daemon_of_three.round(1)
    assert first["sensors"] == 3 * 8 + 1
    assert {"arrivals", "watchdog", "drift_sensor", "payments_arrivals"} <= set(first["cpu_ms"])
    assert set(second["cpu_ms"]) == set(first["cpu_ms"])
    assert {name.rsplit("_", 1)[0] for name in daemon_of_three.names} >= set(names(2))


def test_a_past_is_one_that_the_loop_can_go_on_with(daemon_of_three: Daemon) -> None:
    (model, _), services = names(2), Services.from_environment()
    assert write_past(services.ledger, model, 200) == 1 + 6 * 200 + 7
    assert write_past(services.ledger, model, 200) == 0
    assert services.ledger.open_batches(model, limit=9) == []
    spec = load_spec(services.roots[1] / "models" / model / "defs.yaml")
    situation = gather(services.ledger, spec, services.clock.now())
    assert situation.champion_version == "1"
    assert [incident.state in ENDED for incident in situation.ended] == [True]
    assert not situation.open
    assert learnable_batches(services.ledger, spec, limit=4)[0].subject == batch_ids(200)[-1]
    assert len(services.ledger.newest(model, RecordKind.EVIDENCE, subject="batch-000007", limit=9)) == 3
    set_live(daemon_of_three._instance, f"{model}_batches", batch_ids(200)[-5:])
    assert list(daemon_of_three._instance.get_dynamic_partitions(f"{model}_batches")) == batch_ids(200)[-5:]
    daemon_of_three.round(0)


def test_every_model_of_a_fleet_has_declarations_of_its_own(tmp_path: Path) -> None:
    root = write_fleet(tmp_path, 2)
    views = [(root / "feature_repo" / "views" / f"{name}.py").read_text() for name in names(2)]
    assert all("payments_history" not in view for view in views)
    assert len(set(views)) == 2


def test_the_report_has_every_table_and_says_what_was_missed(tmp_path: Path) -> None:
    parts = dict.fromkeys((*LOADED, "snapshot"), 2.0)
    load = {"wall": parts, "cpu": parts, "loaded_mb": 300.0, "peak_mb": 400.0, "sensors": 25, "jobs": 23}
    tick = {"wall": 2.0, "cpu": 1.0, "sensors": 25, "cpu_ms": {"arrivals": 11.0}}
    kinds = dict.fromkeys(("arrivals", "drift_sensor", "watchdog"), 3.0)
    ages = [
        {"batches": batches, "records": 1, "first": 50.0, "warm": [warm, warm + 2], "kinds": kinds}
        for batches, warm in ((10, 99.0), (102_000, 199.0))
    ]
    text = report({1: [load], 3: [load]}, {1: [tick], 3: [tick]}, ages)
    assert "8.0 s of CPU, 8.0 s passed | missed" in text
    assert "1.0 s of CPU, 2.0 s passed |    met" in text
    assert "102,000 batches, 2,000 live | 100,000" in age_table(ages)
    document = tmp_path / "fleet.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    publish_between(text, document, BEGIN, END)
    assert document.read_text().startswith(f"before\n{BEGIN}\n\nJudged by CPU seconds")
    assert document.read_text().endswith(f"{END}\nafter\n")
    with pytest.raises(ValueError, match="must have the marks"):
        publish_between(text, document, "<!-- another -->", END)
