"""The alarm benchmark's kernels: the same seed gives the same answer, and what is counted is what happened."""

import numpy as np
import pytest
from alarms import gathered, tasks
from alarms_baselines import ADWIN, EVIDENTLY, KS, EvidentlyOnFrames
from alarms_calibration import CALIBRATIONS, measured
from alarms_life import Healed
from alarms_rates import clustered_share, count_rate, share
from alarms_report import report
from alarms_scenarios import PAST_BATCHES, Scenario, Size
from alarms_streams import ChangeResult, LifeResult, StationaryResult, run_change, run_stationary
from alarms_tables import delay_of
from alarms_world import CATEGORICAL, NAMES, PRIOR, Regime, draw, regime_of_drop, true_drop

NO_EVIDENTLY = EvidentlyOnFrames(None)
BATCHES = 4
HARMFUL = Scenario(kind="concept", name="all of it", regimes=(Regime(fade=1.0),), streams=1, place=0)
BENIGN = Scenario(kind="benign", name="a shift", regimes=(Regime(moved={"student_t4": 1.0}),), streams=1, place=1)


@pytest.fixture(scope="module")
def changed() -> ChangeResult:
    return run_change(HARMFUL, 0, "scipy", NO_EVIDENTLY)


@pytest.fixture(scope="module")
def stationary() -> StationaryResult:
    return run_stationary(0, BATCHES, "scipy", NO_EVIDENTLY, BATCHES)


def test_rows_are_drawn_by_seed_and_as_declared() -> None:
    one, again = (draw(Regime(), np.random.default_rng(3), 4_000) for _ in range(2))
    assert one.features.equals(again.features)
    assert np.array_equal(one.label, again.label)
    assert tuple(one.features) == NAMES
    assert len(NAMES) == 20
    assert one.label.mean() == pytest.approx(PRIOR, abs=0.03)
    assert [name for name in NAMES if one.features[name].isna().any()] == ["rounded", "twelve_levels"]
    assert all(one.features[name].dtype == object for name in CATEGORICAL)
    moved = draw(Regime(moved={"normal_a": 2.0}), np.random.default_rng(3), 4_000)
    assert moved.features["normal_a"].mean() - one.features["normal_a"].mean() == pytest.approx(4.0)


def test_a_change_of_the_concept_has_the_size_that_was_asked_for() -> None:
    regime = regime_of_drop(lambda fade: Regime(fade=fade), 0.1, 1.3)
    assert true_drop(regime) == pytest.approx(0.1, abs=0.001)
    assert draw(regime, np.random.default_rng(3), 20_000).label.mean() == pytest.approx(PRIOR, abs=0.01)


def test_a_harmful_change_is_healed_alike_whenever_labels_come(changed: ChangeResult) -> None:
    for late in (0, 2):
        life = changed.lives[late]
        assert [(heal.cause, heal.action) for heal in life.heals] == [("concept_drift", "retrain")]
        assert life.heals[0].batch == life.heals[0].labelled + late
        assert delay_of(HARMFUL, life) in (1, 2)
    assert set(changed.first_alarm) == {KS, ADWIN}
    assert changed.first_alarm[ADWIN] == 0


def test_the_same_seed_gives_the_same_lives(changed: ChangeResult) -> None:
    assert repr(run_change(HARMFUL, 0, "scipy", NO_EVIDENTLY)) == repr(changed)


def test_a_stream_without_a_change_marks_every_batch(stationary: StationaryResult) -> None:
    assert not stationary.life.heals
    assert {"drift", "performance", "prior", "risk", "corrected", "covered", KS, ADWIN} <= set(stationary.marks)
    assert EVIDENTLY not in stationary.marks
    assert {len(marks) for marks in stationary.marks.values()} == {BATCHES}
    assert not any(stationary.marks["drift"])


def test_configured_rates_are_counted_by_draw() -> None:
    first = measured("performance", 0, 40, "scipy")
    assert first == measured("performance", 0, 40, "scipy")
    assert {draws for _, draws in first.values()} == {40}
    assert first["unchanged, holdout metric"][0] <= first["harmful, holdout metric"][0]
    raised, draws = measured("prior", 0, 2_000, "scipy")["interval"]
    assert 0.03 < raised / draws < 0.08


def test_every_stream_and_draw_is_run_once() -> None:
    size = Size(stationary_streams=3, calibration=0.01)
    wanted = tasks([HARMFUL, BENIGN], size, "scipy", None)  # type: ignore[arg-type]
    chunks = [task.args[2] for task in wanted if task.func is measured]
    assert len(wanted) - len(chunks) == 3 + HARMFUL.streams + BENIGN.streams
    assert sum(chunks) == sum(round(one.draws * 0.01) for one in CALIBRATIONS.values())
    counts = gathered([{"risk": (1, 10)}, {"risk": (0, 5)}]).rates
    assert counts == {"risk": (1, 15)}


def test_rates_have_their_exact_intervals() -> None:
    assert share(0, 20).high == pytest.approx(1.0 - 0.025 ** (1 / 20))
    assert count_rate(0, 720).high * 720 == pytest.approx(-np.log(0.025))
    assert clustered_share([0.1, 0.3]).value == pytest.approx(0.2)
    assert share(1, 20).percent() == "5.00 % [0.13, 24.9]"


@pytest.mark.parametrize(
    ("batch", "labelled", "delay"), [(PAST_BATCHES + 3, PAST_BATCHES + 1, 2), (PAST_BATCHES, PAST_BATCHES - 1, 0)]
)
def test_delay_counts_the_changed_batches_that_had_labels(batch: int, labelled: int, delay: int) -> None:
    assert delay_of(HARMFUL, _healed(batch, labelled)) == delay


def test_a_heal_before_the_change_found_nothing() -> None:
    assert delay_of(HARMFUL, _healed(PAST_BATCHES - 1, PAST_BATCHES - 1)) is None


def test_the_report_has_every_table_and_says_what_was_not_measured(
    changed: ChangeResult, stationary: StationaryResult
) -> None:
    found = gathered([stationary, stationary, changed, run_change(BENIGN, 0, "scipy", NO_EVIDENTLY)])
    for kind in CALIBRATIONS:
        found.rates.update(measured(kind, 0, 2, "scipy"))
    text = report([HARMFUL, BENIGN], found, "not installed: no index", "scipy", "python alarms.py", 60.0)
    assert "not installed: no index" in text
    assert "| concept change | all of it, harmful |" in text
    for heading in ("The goals", "Nothing changes", "Something changes", "A shift that does no harm", "What misleads"):
        assert f"## {heading}\n" in text


def _healed(batch: int, labelled: int) -> LifeResult:
    heal = Healed(batch=batch, labelled=labelled, cause="concept_drift", action="retrain", incident="i")
    return LifeResult(late=0, heals=(heal,), incidents={}, batches=batch + 1, largest_psi=0.0)
