"""From clean batches to a champion, again, refused, and back: the real stages, registry and tuner in one process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations import story
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.wiring import Services

ROWS = 900


def small(spec: ModelSpec) -> ModelSpec:
    return replace(
        spec,
        training=replace(spec.training, trials=3, windows=(2,), min_rows=600, max_boost_rounds=40),
        performance=replace(spec.performance, min_rows=100),
        gate=replace(spec.gate, metric_floor=0.6, margin=0.1, max_slice_drop=0.5, max_calibration_error=0.3),
        policy=replace(spec.policy, cooldown_minutes=0.0),
    )


def drop(services: Services, first: int, faults: list[str], usual: Regime = Regime.HEALTHY) -> None:
    plan = list(enumerate(faults, start=first))
    list(simulate(PaymentsWorld(seed=3), plan, ROWS, services.batches.landing("payments"), usual=usual))


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SELFHEAL_HOME", "DAGSTER_HOME", "SELFHEAL_OVERLAYS", "MLFLOW_TRACKING_URI"):
            patch.setenv(name, "")
            patch.delenv(name)
        services = initialise(tmp_path_factory.mktemp("retrain") / "home")
        spec = small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml"))
        with dg.DagsterInstance.get() as instance:
            loop = InProcessLoop(services, spec, instance)
            drop(services, 0, ["healthy", "healthy"])
            loop.settle()
            yield loop


def aliases(loop: InProcessLoop) -> dict[str, str | None]:
    found = {a: loop.services.registry.by_alias("payments", a) for a in ("champion", "challenger", "previous")}
    return {alias: version.version if version else None for alias, version in found.items()}


def outcomes(loop: InProcessLoop) -> list[str]:
    return [r.status for r in reversed(loop.services.ledger.newest("payments", RecordKind.OUTCOME, limit=100))]


def test_the_first_champion_is_promoted_with_its_reference_and_trail(loop: InProcessLoop) -> None:
    assert aliases(loop) == {"champion": "1", "challenger": "1", "previous": None}
    (champion,) = story.champions(loop.services, loop.spec)
    version = loop.services.registry.by_alias("payments", "champion")
    assert version is not None
    assert version.tags["decision_id"] == champion.decision_id
    profile = loop.services.batches.read_document("payments", "reference-1")
    assert profile is not None
    assert profile["metric"] == champion.metric
    assert len(loop.services.batches.read("payments", "reference", "1")) > 0
    run_id = loop.instance.get_runs(dg.RunsFilter(job_name="payments_retrain"))[0].run_id
    import mlflow

    linked = mlflow.MlflowClient(loop.services.tracking_uri).get_run(version.run_id)
    assert linked.data.tags["dagster_run_id"] == run_id
    assert linked.info.status == "FINISHED"


def test_the_same_decision_run_again_changes_nothing(loop: InProcessLoop) -> None:
    before, versions = aliases(loop), len(loop.services.registry.versions("payments"))
    decision = story.champions(loop.services, loop.spec)[0].decision_id
    assert loop.run("retrain", tags={"selfheal/decision": decision})
    assert aliases(loop) == before
    assert len(loop.services.registry.versions("payments")) == versions
    assert outcomes(loop) == [OutcomeStatus.PROMOTED]


def test_harm_is_healed_and_a_person_can_take_it_back_once(loop: InProcessLoop) -> None:
    drop(loop.services, 2, ["harmful_shift", "harmful_shift"])
    loop.settle()
    assert aliases(loop) == {"champion": "2", "challenger": "2", "previous": "1"}
    config = {"ops": {"payments__rollback": {"config": {"reason": "complaints"}}}}
    assert loop.run("rollback", run_config=config)
    assert aliases(loop)["champion"] == "1"
    assert outcomes(loop)[-1] == OutcomeStatus.ROLLED_BACK
    assert not loop.run("rollback", run_config=config), "there is nothing left to go back to"
    assert aliases(loop)["champion"] == "1"


def test_a_candidate_that_fails_a_gate_never_serves(loop: InProcessLoop) -> None:
    strict = replace(loop.spec, gate=replace(loop.spec.gate, metric_floor=0.999))
    refusing = InProcessLoop(loop.services, strict, loop.instance)
    before = aliases(loop)
    assert not refusing.run("retrain"), "the blocking check fails the run"
    after = aliases(loop)
    assert (after["champion"], after["previous"]) == (before["champion"], before["previous"])
    assert outcomes(loop)[-1] == OutcomeStatus.REFUSED
    refused = next(v for v in loop.services.registry.versions("payments") if v.version == after["challenger"])
    assert refused.tags["verdict"] == "FAIL"
    assert Path(loop.services.registry.folder(refused)).exists()
