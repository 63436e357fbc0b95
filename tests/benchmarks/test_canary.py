"""The rollout benchmark's kernels: the same seed gives the same rollout, and what is counted is what happened."""

from dataclasses import replace

import numpy as np
import pytest
from canary import EQUAL, ERRORS, LATE, LONG, PEERS, QUALITY, SHORT, SPEC, chunk, measure
from canary import OURS as JUDGES
from canary_judges import Ended, FixedThreshold, Kayenta, peer, selfheal, series
from canary_report import Case, report
from canary_world import BUSINESS, REQUESTS, Scenario, Traffic, pool
from canary_world import ERRORS as ERROR_SHARE

HUGE = Scenario(name="hopeless", errors=0.6)
QUICK = replace(SPEC, require_quality=False, error_margin=0.05, bake_minutes=2.0)
"""An equal challenger is through within minutes."""


def test_losses_are_as_much_higher_as_the_scenario_says() -> None:
    rows = pool(0.05)
    assert (rows.challenger_loss - rows.champion_loss).mean() == pytest.approx(0.05, abs=0.002)
    same = pool(0.0)
    assert (same.challenger_loss - same.champion_loss).mean() == pytest.approx(0.0, abs=0.001)
    assert rows.buckets.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("counting", ["every row", "answered"])
def test_a_minute_is_counted_as_it_was(counting: str) -> None:
    traffic = Traffic(HUGE, counting, np.random.default_rng(1))
    traffic.pass_minute(0.0, True)
    shadow = traffic.look.challenger
    assert (traffic.exposed, shadow.answered, shadow.rows) == (0, 0, REQUESTS)
    assert (shadow.errors > 500) is (counting == "every row"), "behind a gateway nothing shows in the shadow"
    traffic.pass_minute(0.5, True)
    seen = traffic.look.challenger
    assert seen.answered == traffic.exposed
    assert seen.rows - shadow.rows == (REQUESTS if counting == "every row" else traffic.exposed)
    assert traffic.look.champion.rows - REQUESTS == (
        REQUESTS if counting == "every row" else REQUESTS - traffic.exposed
    )
    assert traffic.look.champion.errors < 3 * 2 * REQUESTS * ERROR_SHARE
    assert 0 < traffic.look.champion.business_sum < 2 * REQUESTS * BUSINESS


def test_a_rollout_is_that_of_its_seed() -> None:
    one = chunk(replace(JUDGES[0], spec=QUICK), EQUAL, 0, 0, 2)
    assert one == chunk(replace(JUDGES[0], spec=QUICK), EQUAL, 0, 0, 2)
    assert one[1:] == chunk(replace(JUDGES[0], spec=QUICK), EQUAL, 0, 1, 1)
    assert all(ended.reached_all and not ended.rejected for ended in one)
    assert all(ended.exposed > 0 for ended in one)


def test_a_hopeless_challenger_answers_hardly_anybody() -> None:
    shadow = selfheal(HUGE, "every row", QUICK, [1])
    assert shadow == Ended(reached_all=False, rejected=True, minutes=1, exposed=0, gate="errors")
    split = selfheal(HUGE, "answered", QUICK, [1])
    assert (split.reached_all, split.rejected, split.gate) == (False, True, "errors")
    assert 0 < split.exposed < 200


@pytest.mark.parametrize("judge", PEERS, ids=[judge.name for judge in PEERS])
def test_the_others_see_what_is_large(judge: FixedThreshold | Kayenta) -> None:
    assert all(ended.rejected and not ended.reached_all for ended in peer(judge, HUGE, 10, [1]))
    late = peer(judge, LATE, 10, [1])
    assert sum(ended.reached_all for ended in late) >= 5, "what they cannot see passes"
    assert late == peer(judge, LATE, 10, [1])


def test_labels_come_late_in_a_series() -> None:
    step = series(QUALITY, 0.25, 12, 4, 3, np.random.default_rng(2))
    assert step.requests == 250
    assert np.isnan(step.champion["quality"][:, :6]).all()
    assert np.isfinite(step.champion["quality"][:, 6:]).all()


def test_mann_whitney_by_hand() -> None:
    """Of 10 and 10 points without overlap the lower end of the 98 % interval is the 19th of 100 differences."""
    judge = Kayenta(name="k", minutes=LONG, every=10)
    champion = np.arange(10.0)[None, :]
    place = int(np.floor(50.0 - 2.3263478740408408 * np.sqrt(100 * 21 / 12)))
    assert place == 19
    pairs = np.sort(((champion + 20.0)[0][:, None] - champion[0][None, :]).ravel())
    assert pairs[place - 1] > 0.25 * 20.0
    assert judge._high(champion, champion + 20.0).tolist() == [True]
    assert judge._high(champion, champion).tolist() == [False]
    assert judge._high(champion[:, :3], champion[:, :3] + 99.0).tolist() == [False], "too few points to say so"


def test_the_report_has_every_judge_and_every_goal() -> None:
    names = [judge.name for judge in JUDGES]
    bad, good = Ended(False, True, 3, 40, "errors"), Ended(True, False, 90, 9_000)
    cases = [
        Case(judge=name, scenario=scenario, ended=(good, bad))
        for scenario in (EQUAL, ERRORS)
        for name in (*names, PEERS[0].name)
    ]
    text = report(cases, SPEC, required=names, command="python canary.py", seconds=60.0)
    assert text.count("| **no** |") == 4, "half of the equal ones rejected, half of the worse ones through"
    assert "50.0 % [1.26, 98.7]" in text
    for heading in ("The goals", "The challenger: equal", "What misleads"):
        assert f"## {heading}\n" in text


def test_every_rollout_is_run_once() -> None:
    cases = measure(3, 1, [ERRORS])
    assert {case.judge for case in cases} == {judge.name for judge in (*JUDGES, *PEERS)}
    assert {len(case.ended) for case in cases} == {3}
    assert SHORT != LONG
