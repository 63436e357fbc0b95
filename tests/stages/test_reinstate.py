"""A world that moves and moves back, a release that is bad, and a label that is commoner: healed as each needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from quick_home import quick_home, small

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import ABOUT_THE_METRIC, Action, Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.holds import Hold
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations import story
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.ports import ModelVersion, TunedParameters
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.candidates import register
from selfheal_assets.stages.heal_decision import by_hand, training_batches
from selfheal_assets.stages.making import frame_of, gathered
from selfheal_assets.stages.succession import freeze_reference, promote
from selfheal_assets.stages.training_frame import TRAIN, labelled

ROWS = 800
WORLD = PaymentsWorld(seed=3)
HEALTHY, MOVED = Regime.HEALTHY, Regime.CONCEPT_CHANGE
WATCHED = 1


@contextmanager
def running(home: Path, spec: ModelSpec) -> Iterator[InProcessLoop]:
    """Version 1 serves; it has learned from batches 0 and 1."""
    with quick_home(home) as services, dg.DagsterInstance.get() as instance:
        loop = InProcessLoop(services, spec, instance)
        settled(loop, HEALTHY, 0, 1)
        yield loop


def payments() -> ModelSpec:
    return small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml"), watch_batches=WATCHED)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    with running(tmp_path_factory.mktemp("reinstate") / "home", payments()) as loop:
        yield loop


@pytest.fixture
def loop_by_log_loss(tmp_path: Path) -> Iterator[InProcessLoop]:
    """Judged by a metric that a moved share of labels harms; an order of scores, such as the AUC, it does not."""
    spec = payments()
    judged = replace(spec, performance=replace(spec.performance, metric="log_loss"))
    with running(tmp_path / "home", judged) as loop:
        yield loop


def settled(loop: InProcessLoop, regime: Regime, *indexes: int) -> None:
    land(loop, {index: WORLD.batch(index, ROWS, regime) for index in indexes})


def land(loop: InProcessLoop, frames: dict[int, pd.DataFrame]) -> None:
    """The batches land together, and whatever the sensors then ask for is done."""
    for index, frame in frames.items():
        drop(frame, loop.services.batches.landing("payments"), f"payments-{index:04d}.parquet")
    loop.settle()


def aliases(loop: InProcessLoop) -> tuple[str | None, str | None]:
    """The champion, and the one before."""
    found = [loop.services.registry.by_alias("payments", alias) for alias in ("champion", "previous")]
    champion, previous = (version.version if version else None for version in found)
    return champion, previous


def versions(loop: InProcessLoop) -> list[ModelVersion]:
    return loop.services.registry.versions("payments")


def incidents(loop: InProcessLoop, *causes: Cause) -> list[Incident]:
    """In the order of opening."""
    cases = story.case_files(loop.services, loop.spec)
    return [case.incident for case in cases if not causes or case.incident.cause in causes]


def tried(incident: Incident) -> list[tuple[Action, Result]]:
    return [(attempt.action, attempt.result) for attempt in incident.tried]


def evidence(loop: InProcessLoop, signal: Signal, index: int) -> Evidence:
    """The last statement about the batch."""
    batch = next(b for b in story.batches(loop.services, loop.spec) if b.file_name == f"payments-{index:04d}.parquet")
    records = loop.services.ledger.newest("payments", RecordKind.EVIDENCE, subject=batch.batch_id, limit=99)
    return next(e for e in map(Evidence.from_record, records) if e.signal is signal)


def test_a_world_that_moves_back_gets_its_version_back(loop: InProcessLoop) -> None:
    """Nothing is trained: version 1 is judged by every gate on the newest rows, and serves again."""
    assert aliases(loop) == ("1", None)
    settled(loop, MOVED, 2, 3)
    assert aliases(loop) == ("2", "1")
    settled(loop, MOVED, 4)
    (moved,) = incidents(loop, *ABOUT_THE_METRIC)
    assert (moved.state, tried(moved)) == (IncidentState.RESOLVED, [(Action.RETRAIN, Result.VERIFIED)])
    assert moved.before is not None
    assert moved.after is not None
    assert moved.after > moved.before - loop.spec.performance.max_drop
    settled(loop, HEALTHY, 5, 6)
    _, back = incidents(loop, *ABOUT_THE_METRIC)
    assert (back.state, tried(back)) == (IncidentState.VERIFYING, [(Action.REINSTATE, Result.ACTED)])
    assert aliases(loop) == ("1", "2")
    decision = back.tried[0].decision_id
    report = loop.services.batches.read_document("payments", f"validation-{decision}")
    assert report is not None
    assert (report["version"], report["verdict"], len(report["gates"])) == ("1", "PASS", 8)
    assert {gate["verdict"] for gate in report["gates"]} == {"PASS"}
    (outcome,) = loop.services.ledger.newest("payments", RecordKind.OUTCOME, subject=decision)
    assert (outcome.status, outcome.payload["version"]) == (OutcomeStatus.PROMOTED, "1")
    settled(loop, HEALTHY, 7)
    _, back = incidents(loop, *ABOUT_THE_METRIC)
    assert (back.state, tried(back)) == (IncidentState.RESOLVED, [(Action.REINSTATE, Result.VERIFIED)])
    assert [version.version for version in versions(loop)] == ["2", "1"], "no version was registered"
    assert evidence(loop, Signal.PERFORMANCE, 7).status is Status.CLEAR


def test_what_was_seen_of_it_in_its_earlier_term_does_not_count(loop: InProcessLoop) -> None:
    """In the moved world version 1 was harmed: neither its incident, nor the sequential test, nor the watch goes on."""
    assert evidence(loop, Signal.PERFORMANCE, 3).champion_version == "1"
    assert evidence(loop, Signal.PERFORMANCE, 3).status is Status.RAISED
    assert not [incident for incident in incidents(loop) if not incident.ended]
    assert evidence(loop, Signal.RISK, 7).sample_size == ROWS
    assert evidence(loop, Signal.RELEASE, 7).details["previous_version"] == "2", "it is watched as any release is"


def released_by_hand(loop: InProcessLoop) -> str:
    """A version that learned from shuffled labels and is said to be as good as the champion; its version."""
    services, spec = loop.services, loop.spec
    champion, _ = aliases(loop)
    decision = by_hand(
        services,
        spec,
        "a-bad-release",
        cause=Cause.UNKNOWN,
        action=Action.RETRAIN,
        champion_version=champion,
        reason="released by a person",
        training_batches=training_batches(services, spec),
    )
    services.ledger.append(decision)
    tuned = TunedParameters(parameters={}, window=2, score=0.9)
    services.batches.write_document(
        "payments", f"tuned-{decision.subject}", {"parameters": {}, "window": 2, "score": 0.9}
    )
    frame = gathered(services, spec, decision)
    rows = labelled(services, spec, frame, TRAIN)
    shuffled = replace(rows, label=np.random.default_rng(1).permutation(rows.label))
    model = services.trainer.train(spec, shuffled, tuned)
    version = register(services, spec, decision, frame_of(services, spec, decision), model, tuned)
    profile = services.batches.read_document("payments", f"reference-{champion}")
    assert profile is not None
    report = {
        "verdict": str(Verdict.PASS),
        "version": version.version,
        "champion_version": champion,
        "metric": profile["metric"],
        "importance": model.importance(),
        "gates": [],
    }
    services.batches.write_document("payments", f"validation-{decision.subject}", report)
    promote(services, spec, report)
    freeze_reference(services, spec, decision, report)
    return version.version


def test_a_bad_release_is_taken_back_within_its_watch(loop: InProcessLoop) -> None:
    loop.settle()
    bad = released_by_hand(loop)
    assert aliases(loop) == (bad, "1")
    loop.settle()
    assert aliases(loop) == (bad, "1"), "nothing speaks against it yet"
    settled(loop, HEALTHY, 8)
    assert aliases(loop)[0] == "1"
    (taken,) = incidents(loop, Cause.BAD_RELEASE)
    assert (taken.state, tried(taken)) == (IncidentState.VERIFYING, [(Action.ROLLBACK, Result.ACTED)])
    assert taken.champion_version == bad
    (outcome,) = loop.services.ledger.newest("payments", RecordKind.OUTCOME, subject=taken.tried[0].decision_id)
    assert (outcome.status, outcome.payload["version"]) == (OutcomeStatus.ROLLED_BACK, "1")
    assert versions(loop)[0].tags["verdict"] == "ROLLED_BACK"
    settled(loop, HEALTHY, 9)
    (taken,) = incidents(loop, Cause.BAD_RELEASE)
    assert (taken.state, tried(taken)) == (IncidentState.RESOLVED, [(Action.ROLLBACK, Result.VERIFIED)])
    assert not [incident for incident in incidents(loop) if not incident.ended]
    assert len(versions(loop)) == 3, "nothing was retrained"


def commoner(index: int, share: float = 0.3) -> pd.DataFrame:
    """Healthy rows drawn by their label alone, so that label 1 has that share."""
    rows, generator = WORLD.batch(index, 3 * ROWS, HEALTHY), np.random.default_rng(index)
    ones, zeros = (generator.permutation(np.flatnonzero(rows["is_fraud"] == label)) for label in (1, 0))
    wanted = round(share * ROWS)
    assert len(ones) >= 0.8 * wanted
    taken = np.sort(np.concatenate([ones[:wanted], zeros[: ROWS - min(wanted, len(ones))]]))
    return rows.iloc[taken].reset_index(drop=True)


def test_a_label_that_is_commoner_is_left_alone_where_it_does_no_harm(loop: InProcessLoop) -> None:
    land(loop, {index: commoner(index) for index in (10, 11)})
    assert evidence(loop, Signal.PRIOR, 11).status is Status.RAISED
    (shifted,) = incidents(loop, Cause.PRIOR_SHIFT)
    assert (shifted.state, shifted.hold, tried(shifted)) == (IncidentState.SUPPRESSED, Hold.NO_HARM, [])


def test_a_label_that_is_commoner_is_recalibrated_for(loop_by_log_loss: InProcessLoop) -> None:
    """The features within a label are where they were: nothing new is to be learned."""
    loop = loop_by_log_loss
    land(loop, {index: commoner(index) for index in (2, 3)})
    assert evidence(loop, Signal.PRIOR, 3).status is Status.RAISED
    assert evidence(loop, Signal.CONDITIONAL, 3).status is Status.CLEAR
    (shifted,) = incidents(loop, Cause.PRIOR_SHIFT)
    assert tried(shifted) == [(Action.RECALIBRATE, Result.ACTED)]
    champion, previous = aliases(loop)
    assert (champion, previous) == (versions(loop)[0].version, "1")
    newest, former = (loop.services.registry.load(v) for v in (versions(loop)[0], versions(loop)[-1]))
    batch = next(b for b in story.batches(loop.services, loop.spec) if b.file_name == "payments-0003.parquet")
    features = loop.services.batches.read("payments", "features", batch.batch_id)
    scores = [model.score(features[loop.services.features.names(loop.spec)]) for model in (former, newest)]
    moved = [np.log(score / (1.0 - score)) for score in scores]
    assert np.ptp(moved[1] - moved[0]) == pytest.approx(0.0, abs=1e-3), "every logit moved alike"
    label = features["is_fraud"].mean()
    assert abs(scores[1].mean() - label) < abs(scores[0].mean() - label)
    land(loop, {4: commoner(4)})
    (shifted,) = incidents(loop, Cause.PRIOR_SHIFT)
    assert (shifted.state, tried(shifted)) == (IncidentState.RESOLVED, [(Action.RECALIBRATE, Result.VERIFIED)])
    assert aliases(loop) == (champion, previous)
