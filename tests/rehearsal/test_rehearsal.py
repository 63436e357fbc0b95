"""Rehearse small histories: the same seed the same life, harm is healed, a harmless move is not, rivals keep count."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.rehearsal.declared import model_named
from selfheal_assets.rehearsal.history import History, simulated
from selfheal_assets.rehearsal.player import Played, Policy, Schedule, Trigger, play
from selfheal_assets.rehearsal.recorded import recorded
from selfheal_assets.rehearsal.rivals import first_model_at, rivals
from selfheal_assets.rehearsal.scoring import Truth, scores

ROWS = 600
HEALTHY, MOVED = ["healthy"] * 5, 5


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """The payments model, made for small batches, with the quicker of the two equal detectors."""
    declared = model_named("payments")
    return replace(
        declared,
        drift=replace(declared.drift, detector="scipy"),
        training=replace(declared.training, min_rows=800, windows=(2, 3), max_boost_rounds=60),
        gate=replace(declared.gate, slices=(), metric_floor=0.6, max_calibration_error=0.25),
    )


def unchecked(history: History) -> History:
    return replace(history, checked=False)


def last(spec: ModelSpec, history: History, trigger: Trigger, **settings: int) -> Played:
    *_, played = play(spec, history, trigger, **settings)
    return played


@pytest.fixture(scope="module")
def harmful(spec: ModelSpec) -> History:
    return unchecked(simulated(spec, [*HEALTHY, *["harmful_shift"] * 5], ROWS, seed=7))


@pytest.fixture(scope="module")
def healed(spec: ModelSpec, harmful: History) -> Played:
    return last(spec, harmful, Policy(), labels_after=1)


def test_a_harmful_shift_is_healed_once_its_labels_came(healed: Played) -> None:
    made = [h for h in healed.heals if h.cause is not Cause.NO_CHAMPION and h.outcome == OutcomeStatus.PROMOTED]
    assert [h.cause for h in made] == [Cause.HARMFUL_DRIFT]
    # Two of three batches must show it, and the labels come one batch late.
    assert MOVED + 2 <= made[0].at <= MOVED + 3
    before = [s.value for s in healed.scored if MOVED <= s.at <= made[0].at]
    after = [s.value for s in healed.scored if s.at > made[0].at]
    assert min(after) > max(before) + 0.1


def test_the_same_history_gives_the_same_life(spec: ModelSpec, harmful: History, healed: Played) -> None:
    again = last(spec, harmful, Policy(), labels_after=1)
    assert again.scored == healed.scored
    assert [replace(h, seconds=0.0) for h in again.heals] == [replace(h, seconds=0.0) for h in healed.heals]
    assert again.incidents == healed.incidents


def test_a_harmless_shift_changes_nothing(spec: ModelSpec) -> None:
    history = unchecked(simulated(spec, [*HEALTHY, *["benign_shift"] * 4], ROWS, seed=7))
    played = last(spec, history, Policy())
    assert [h.cause for h in played.heals] == [Cause.NO_CHAMPION]
    moved = {a.batch_id for a in history.arrivals[MOVED:]}
    assert Cause.BENIGN_DRIFT in {i.cause for i in played.incidents if moved & set(i.batch_ids)}


def test_a_file_that_cannot_be_read_and_a_bad_unit_are_kept_out(spec: ModelSpec) -> None:
    history = simulated(spec, [*HEALTHY, "truncated_file", "unit_change"], ROWS, seed=7)
    played = last(spec, history, Policy())
    assert [played.statuses[at] for at in (MOVED, MOVED + 1)] == ["QUARANTINED", "QUARANTINED"]
    assert {s.at for s in played.scored}.isdisjoint({MOVED, MOVED + 1})
    assert played.retrains == []
    taken_over = list(play(spec, unchecked(history), Schedule("never", frozenset()), judgements=played.judgements))
    assert taken_over[-1].statuses == played.statuses


def test_never_and_always_keep_count(spec: ModelSpec, harmful: History, healed: Played) -> None:
    batches = len(harmful.arrivals)
    never, always, every, *drawn = rivals(["never", "always", "every-3", "random"], healed, batches, seed=1, draws=2)
    first = first_model_at(healed, batches)
    assert len(last(spec, harmful, never, labels_after=1).retrains) == 0
    assert len(last(spec, harmful, always, labels_after=1).retrains) == batches - 1 - first
    assert every.places == frozenset(range(first + 3, batches, 3))
    assert [len(one.places) for one in drawn] == [len(healed.retrains)] * 2
    assert rivals(["random"], healed, batches, seed=1, draws=2) == drawn
    assert all(place > first for one in drawn for place in one.places)


def test_the_score_finds_the_miss_and_the_false_heals(spec: ModelSpec, harmful: History, healed: Played) -> None:
    truths = [Truth.of(arrival) for arrival in harmful.arrivals]
    never = last(spec, harmful, Schedule("never", frozenset()), labels_after=1)
    early = last(spec, harmful, Schedule("early", frozenset({3, 4})), labels_after=1)
    policy, idle, hasty = scores(spec, truths, [healed, never, early], 1)
    assert (policy.missed_heals, policy.false_heals, policy.episodes) == (0, 0, 1)
    assert (idle.missed_heals, idle.false_heals, idle.changes) == (1, 0, 0)
    assert (hasty.false_heals, hasty.retrains) == (2, 2)
    assert policy.metric_by_batch.keys() == idle.metric_by_batch.keys()
    assert policy.mean_metric > idle.mean_metric


def test_the_cost_is_of_heals_and_of_what_was_lost(spec: ModelSpec, harmful: History, healed: Played) -> None:
    truths = [Truth.of(arrival) for arrival in harmful.arrivals]
    never = last(spec, harmful, Schedule("never", frozenset()), labels_after=1)
    dear = replace(spec, cost=replace(spec.cost, per_heal=10.0))
    policy, idle = scores(dear, truths, [healed, never], 1)
    assert policy.cost == pytest.approx(10.0 * len([h for h in healed.heals if h.cause is not Cause.NO_CHAMPION]))
    assert idle.cost == 0.0
    valued = replace(spec, cost=replace(spec.cost, value_per_unit_day=100.0))
    policy, idle = scores(valued, truths, [healed, never], 1)
    assert idle.cost > policy.cost > 0.0


def test_a_recorded_folder_is_played_in_the_order_of_its_events(spec: ModelSpec, tmp_path: Path) -> None:
    drawn = simulated(spec, [*HEALTHY, "harmful_shift", "harmful_shift"], ROWS, seed=7)
    wanted = [spec.data.event_id, spec.data.event_timestamp, spec.data.label, *spec.features.request]
    for place, arrival in enumerate(drawn.arrivals):
        assert arrival.rows is not None
        arrival.rows[wanted].to_csv(tmp_path / f"{9 - place}.csv", index=False)
    history = recorded(spec, tmp_path, batches=6)
    assert [a.batch_id[0] for a in history.arrivals] == ["9", "8", "7", "6", "5", "4"]
    assert set(history.features or ()) == set(spec.features.request)
    played = last(spec, history, Policy())
    assert [h.action for h in played.heals][:1] == [Action.RETRAIN]
    assert len(played.scored) >= 3


def test_wrong_input_is_said_in_words(spec: ModelSpec, tmp_path: Path, healed: Played) -> None:
    with pytest.raises(SpecError, match="every-K"):
        rivals(["sometimes"], healed, 10, seed=1, draws=1)
    with pytest.raises(SpecError, match="must be a folder"):
        recorded(spec, tmp_path / "absent")
    with pytest.raises(SpecError, match="must have tables"):
        recorded(spec, tmp_path)
    (tmp_path / "a.csv").write_text("x\n1\n", encoding="utf-8")
    with pytest.raises(SpecError, match="must have the columns"):
        recorded(spec, tmp_path)
    with pytest.raises(SpecError, match="payments world"):
        simulated(replace(spec, features=replace(spec.features, service="other")), ["healthy"], ROWS, seed=7)


def test_a_rehearsal_needs_no_dagster_feast_or_mlflow() -> None:
    heavy = ["dagster", "feast", "mlflow", "great_expectations", "alibi_detect"]
    code = (
        "import sys; import selfheal_assets.rehearsal.rehearse, selfheal_assets.rehearsal.report;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_home_gives_its_features_and_the_labels_that_came_later(spec: ModelSpec, tmp_path: Path) -> None:
    from selfheal_assets.adapters.batch_store import FileBatchStore
    from selfheal_assets.adapters.label_store import FileLabelStore

    drawn = simulated(spec, ["healthy", "healthy"], 50, seed=7).arrivals
    wanted = [spec.data.event_id, spec.data.event_timestamp, spec.data.label, *spec.features.request]
    store, labels = FileBatchStore(tmp_path), FileLabelStore(tmp_path)
    for arrival, name in zip(drawn, ("b", "a"), strict=True):
        assert arrival.rows is not None
        known = arrival.rows[wanted].assign(**{spec.data.label: float("nan")})
        store.write(spec.name, "features", name, known)
        came = arrival.rows[[spec.data.event_id, spec.data.label]].set_axis(["event_id", "label"], axis=1)
        came = came.assign(label_timestamp=arrival.arrived_at, known_at=arrival.arrived_at, arrival=1, file_id="f")
        labels.merge(spec.name, name, came, known.set_index(spec.data.event_id)[spec.data.label])
    history = recorded(spec, tmp_path)
    assert [a.batch_id for a in history.arrivals] == ["b", "a"]
    for arrival, truth in zip(history.arrivals, drawn, strict=True):
        assert arrival.rows is not None
        assert truth.rows is not None
        assert arrival.rows[spec.data.label].tolist() == truth.rows[spec.data.label].tolist()
        assert set(spec.data.entities) <= set(arrival.rows)
