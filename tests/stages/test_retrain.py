"""From clean batches to a champion, again, refused, and back: the real stages, registry and tuner in one process."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest
from no_settings import forget_settings

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.golden_probe import DOCUMENT, GoldenProbe
from selfheal_assets.core.golden_probe import ROWS as ROWS_OF_A_PROBE
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations import story
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.champion import SCORE, reference_scores
from selfheal_assets.stages.governance import GOVERNED, again, is_governed
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
        forget_settings(patch)
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
    reference = loop.services.batches.read("payments", "reference", "1")
    assert reference_scores(loop.services, loop.spec, "1") == profile["score_counts"]
    assert sum(profile["score_counts"]) == reference[SCORE].notna().sum() > 0
    assert reference_scores(loop.services, loop.spec, "2") is None
    run_id = loop.instance.get_runs(dg.RunsFilter(job_name="payments_retrain"))[0].run_id
    import mlflow

    linked = mlflow.MlflowClient(loop.services.tracking_uri).get_run(version.run_id)
    assert linked.data.tags["dagster_run_id"] == run_id
    assert linked.info.status == "FINISHED"


def test_a_server_could_probe_the_champion(loop: InProcessLoop) -> None:
    registry = loop.services.registry
    version = registry.by_alias("payments", "champion")
    assert version is not None
    probe = GoldenProbe.read(registry.kept(version, DOCUMENT))
    assert len(probe.scores) == ROWS_OF_A_PROBE
    assert len(set(probe.scores)) > 3
    assert probe.contradiction(registry.load(version).score_columns(probe.columns)) is None
    digests = {file.name: sha256(file.read_bytes()).hexdigest() for file in registry.folder(version).iterdir()}
    del digests[f"{DOCUMENT}.json"]
    assert probe.files == digests
    assert "model.ubj" in digests


def test_the_same_decision_run_again_changes_nothing(loop: InProcessLoop) -> None:
    before, versions = aliases(loop), len(loop.services.registry.versions("payments"))
    decision = story.champions(loop.services, loop.spec)[0].decision_id
    assert loop.run("retrain", tags={"selfheal/decision": decision})
    assert aliases(loop) == before
    assert len(loop.services.registry.versions("payments")) == versions
    assert outcomes(loop) == [OutcomeStatus.PROMOTED]


def assert_governed(loop: InProcessLoop) -> None:
    """The version, its run and its outcome say what set the heal off, on which data, and who let it through."""
    import mlflow

    version = loop.services.registry.by_alias("payments", "champion")
    assert version is not None
    decision = loop.services.ledger.newest("payments", RecordKind.DECISION, subject=version.tags["decision_id"])[0]
    run = mlflow.MlflowClient(loop.services.tracking_uri).get_run(version.run_id)
    for tags in (version.tags, run.data.tags):
        assert tags["trigger"] == f"incident {decision.payload['incident']}: harmful_drift"
        assert tags["approval"] == "none needed: the policy let it through"
        assert tags.keys() >= GOVERNED
    assert is_governed(version, decision)
    outcome = loop.services.ledger.newest("payments", RecordKind.OUTCOME, subject=decision.subject)[0]
    assert outcome.payload["mlflow_run_id"] == version.run_id
    assert outcome.payload["mlflow"] == loop.services.registry.link(version)


def test_harm_is_healed_and_a_person_can_take_it_back_once(loop: InProcessLoop) -> None:
    drop(loop.services, 2, ["harmful_shift", "harmful_shift"])
    loop.settle()
    assert aliases(loop) == {"champion": "2", "challenger": "2", "previous": "1"}
    assert_governed(loop)
    config = {"ops": {"payments__rollback": {"config": {"reason": "complaints"}}}}
    assert loop.run("rollback", run_config=config)
    assert aliases(loop)["champion"] == "1"
    assert outcomes(loop)[-1] == OutcomeStatus.ROLLED_BACK
    incident = story.case_files(loop.services, loop.spec)[-1].incident
    assert incident.cause is Cause.HARMFUL_DRIFT
    assert [(a.action, a.result) for a in incident.tried] == [(Action.RETRAIN, Result.ACTED)]
    taken_back = next(v for v in loop.services.registry.versions("payments") if v.version == "2")
    by_hand = loop.services.ledger.newest("payments", RecordKind.DECISION)[0]
    assert is_governed(taken_back, by_hand)
    assert taken_back.tags[again(by_hand)] == "bad_release: complaints; approval: none asked: a person launched it"
    assert not loop.run("rollback", run_config=config), "there is nothing left to go back to"
    assert aliases(loop)["champion"] == "1"


def test_what_was_taken_back_is_no_archive_and_a_new_model_is_trained_at_once(loop: InProcessLoop) -> None:
    """The world did not move back: reinstating is tried first, finds nothing, and costs the model no failed run."""
    drop(loop.services, 4, ["healthy", "healthy"], usual=Regime.HARMFUL_SHIFT)
    loop.settle()
    incident = story.case_files(loop.services, loop.spec)[-1].incident
    assert incident.cause is Cause.HARMFUL_DRIFT
    assert [(a.action, a.result) for a in incident.tried] == [
        (Action.REINSTATE, Result.NONE_FITS),
        (Action.RETRAIN, Result.ACTED),
    ]
    assert aliases(loop) == {"champion": "3", "challenger": "3", "previous": "1"}
    none_fits, promoted = loop.services.ledger.newest("payments", RecordKind.OUTCOME, limit=2)[::-1]
    assert (none_fits.subject, promoted.subject) == tuple(a.decision_id for a in incident.tried)
    assert (none_fits.status, none_fits.payload["result"]) == (OutcomeStatus.REFUSED, Result.NONE_FITS)
    assert "no earlier version can be compared" in none_fits.payload["reason"]
    (run,) = loop.instance.get_runs(dg.RunsFilter(tags={"selfheal/decision": none_fits.subject}))
    assert run.is_success
    skipped = {
        stats.step_key for stats in loop.instance.get_run_step_stats(run.run_id) if stats.status.value == "SKIPPED"
    }
    after = ("validation_report", "rollout", "champion_model", "reference_data")
    assert {f"payments__{name}" for name in after} == skipped


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
