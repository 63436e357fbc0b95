"""One conformance class for every DriftDetector: its p-values are SciPy's, whatever numpy the lock overrides to."""

import importlib.util
import math
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from selfheal_assets.adapters.alibi_drift import AlibiDriftDetector
from selfheal_assets.adapters.scipy_drift import ScipyDriftDetector
from selfheal_assets.core.errors import DetectorError
from selfheal_assets.ports import DriftDetector

SIZES = [(60, 30), (30, 60), (200, 200), (1_000, 250), (5_000, 20_000)]


def frames(seed: int, n: int, m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers with and without shift, with ties, constant; categories that move, appear and vanish."""
    generator = np.random.default_rng(seed)

    def sample(rows: int, shift: float, levels: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "steady": generator.normal(size=rows),
                "shifted": generator.normal(shift, 1.0, rows),
                "tied": generator.poisson(2.0 + shift, rows).astype(float),
                "constant": np.ones(rows),
                "colour": generator.choice(list(levels), rows),
                "pair": generator.choice(["yes", "no"], rows),
            }
        )

    return sample(n, 0.0, "abcd"), sample(m, 0.15, "bcde")


def scipy_p_value(reference: pd.Series, batch: pd.Series) -> float:
    """What SciPy says when nothing of ours stands between it and the data."""
    if reference.dtype != object:
        return float(ks_2samp(reference, batch, method="asymp").pvalue)
    both = pd.concat([reference, batch], keys=["reference", "batch"]).rename("level").reset_index()
    return float(chi2_contingency(pd.crosstab(both["level_0"], both["level"])).pvalue)


class DriftDetectorConformance:
    """What the assets rely on. Subclasses give the adapter."""

    detector: DriftDetector

    @pytest.mark.parametrize("size", SIZES, ids=str)
    @pytest.mark.parametrize("seed", range(8))
    def test_p_values_are_those_of_scipy(self, seed: int, size: tuple[int, int]) -> None:
        reference, batch = frames(seed, *size)
        batch["colour"] = batch["colour"].replace("e", "d")
        answers = self.detector.compare(reference, batch, ["colour", "pair"])
        assert list(answers) == list(reference.columns)
        for name, answer in answers.items():
            assert answer.p_value == pytest.approx(scipy_p_value(reference[name], batch[name]), abs=1e-6)
            assert answer.test == ("chi_squared" if name in ("colour", "pair") else "kolmogorov_smirnov")

    @pytest.mark.parametrize("seed", range(20))
    def test_one_numeric_column_is_the_kolmogorov_smirnov_test(self, seed: int) -> None:
        reference, batch = frames(seed, 700, 300)
        answer = self.detector.compare(reference[["shifted"]], batch[["shifted"]], ["colour"])["shifted"]
        expected = ks_2samp(reference["shifted"], batch["shifted"], method="asymp")
        assert answer.statistic == pytest.approx(expected.statistic, abs=1e-6)
        assert answer.p_value == pytest.approx(expected.pvalue, abs=1e-6)

    def test_an_unseen_category_is_counted_and_two_of_them_are_one(self) -> None:
        reference = pd.DataFrame({"colour": ["red"] * 60 + ["blue"] * 40})
        batch = pd.DataFrame({"colour": ["red"] * 50 + ["blue"] * 30 + ["mauve"] * 11 + ["ochre"] * 9})
        answer = self.detector.compare(reference, batch, ["colour"])["colour"]
        assert answer.p_value == pytest.approx(chi2_contingency([[60, 40, 0], [50, 30, 20]]).pvalue, abs=1e-6)

    def test_a_vanished_category_is_counted(self) -> None:
        reference = pd.DataFrame({"colour": ["red"] * 50 + ["blue"] * 30 + ["green"] * 20})
        batch = pd.DataFrame({"colour": ["red"] * 60 + ["blue"] * 40})
        answer = self.detector.compare(reference, batch, ["colour"])["colour"]
        assert answer.p_value == pytest.approx(chi2_contingency([[50, 30, 20], [60, 40, 0]]).pvalue, abs=1e-6)

    def test_nothing_in_common_is_certain_drift(self) -> None:
        reference = pd.DataFrame({"colour": ["red"] * 100, "amount": np.zeros(100)})
        batch = pd.DataFrame({"colour": ["blue"] * 100, "amount": np.ones(100)})
        answers = self.detector.compare(reference, batch, ["colour"])
        assert answers["colour"].p_value < 1e-20
        assert answers["amount"].p_value < 1e-20

    def test_one_category_and_one_value_are_certain_sameness(self) -> None:
        reference = pd.DataFrame({"colour": ["red"] * 100, "amount": np.full(100, 3.5)})
        answers = self.detector.compare(reference, reference.head(30), ["colour"])
        assert {name: answer.p_value for name, answer in answers.items()} == {"colour": 1.0, "amount": 1.0}

    def test_the_batch_columns_may_stand_in_another_order(self) -> None:
        reference, batch = frames(1, 400, 300)
        shuffled = batch[["pair", "tied", "colour", "steady", "constant", "shifted"]]
        categorical = ["pair", "colour"]
        assert self.detector.compare(reference, batch, categorical) == self.detector.compare(
            reference, shuffled, categorical
        )

    def test_pandas_strings_and_nullable_numbers_are_taken(self) -> None:
        reference, batch = frames(3, 300, 300)
        as_pandas = [
            frame.astype({"colour": "string", "pair": "category", "tied": "Int64", "steady": "Float64"})
            for frame in (reference, batch)
        ]
        assert self.detector.compare(*as_pandas, ["colour", "pair"]) == self.detector.compare(
            reference, batch, ["colour", "pair"]
        )

    @pytest.mark.parametrize("side", [0, 1])
    @pytest.mark.parametrize(("column", "hole"), [("steady", np.nan), ("colour", None), ("pair", np.nan)])
    def test_a_missing_value_has_no_answer_and_leaves_the_others_alone(
        self, side: int, column: str, hole: float | None
    ) -> None:
        whole = frames(5, 300, 300)
        holed = [frame.copy() for frame in whole]
        holed[side].loc[7, column] = hole
        answers = self.detector.compare(*holed, ["colour", "pair"])
        assert math.isnan(answers[column].p_value)
        assert math.isnan(answers[column].statistic)
        expected = self.detector.compare(*whole, ["colour", "pair"])
        assert {name: answer for name, answer in answers.items() if name != column} == {
            name: answer for name, answer in expected.items() if name != column
        }

    @pytest.mark.parametrize(("n", "m"), [(0, 50), (50, 0), (0, 0)])
    def test_no_rows_have_no_answer(self, n: int, m: int) -> None:
        reference, batch = frames(0, 60, 60)
        answers = self.detector.compare(reference.head(n), batch.head(m), ["colour", "pair"])
        assert set(answers) == set(reference.columns)
        assert all(math.isnan(answer.p_value) for answer in answers.values())

    def test_one_row_against_one_row_is_never_significant(self) -> None:
        reference, batch = frames(0, 1, 1)
        answers = self.detector.compare(reference, batch, ["colour", "pair"])
        assert not any(answer.p_value < 0.05 for answer in answers.values())

    def test_infinite_values_are_ordered_like_any_other(self) -> None:
        reference, batch = frames(2, 300, 300)
        batch.loc[:99, "steady"] = np.inf
        assert self.detector.compare(reference, batch, ["colour", "pair"])["steady"].p_value < 1e-6

    def test_unequal_columns_are_refused(self) -> None:
        reference, batch = frames(0, 50, 50)
        with pytest.raises(DetectorError, match="same columns"):
            self.detector.compare(reference, batch.drop(columns="pair"), ["colour"])
        doubled = pd.concat([reference, reference[["pair"]]], axis=1)
        with pytest.raises(DetectorError, match="each once"):
            self.detector.compare(doubled, doubled, ["colour"])

    def test_words_in_a_numeric_column_are_refused(self) -> None:
        reference, batch = frames(0, 50, 50)
        with pytest.raises(DetectorError, match=r"features\.categorical"):
            self.detector.compare(reference, batch, ["pair"])

    def test_inputs_are_left_as_they_were(self) -> None:
        reference, batch = frames(0, 300, 300)
        copies = reference.copy(), batch.copy()
        self.detector.compare(reference, batch, ["colour", "pair"])
        pd.testing.assert_frame_equal(reference, copies[0])
        pd.testing.assert_frame_equal(batch, copies[1])

    def test_it_is_silent(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.detector.compare(*frames(0, 300, 300), ["colour", "pair"])
        assert capfd.readouterr() == ("", "")
        assert not caplog.records


@pytest.mark.skipif(importlib.util.find_spec("alibi_detect") is None, reason="alibi-detect is not installed")
class TestAlibiDriftDetector(DriftDetectorConformance):
    detector = AlibiDriftDetector()

    def test_the_answers_are_those_of_the_scipy_adapter(self) -> None:
        for seed in range(5):
            reference, batch = frames(seed, 500, 400)
            ours = ScipyDriftDetector().compare(reference, batch, ["colour", "pair"])
            theirs = self.detector.compare(reference, batch, ["colour", "pair"])
            assert list(ours) == list(theirs)
            for name, answer in ours.items():
                assert theirs[name].test == answer.test
                assert theirs[name].p_value == pytest.approx(answer.p_value, abs=1e-6)
                assert theirs[name].statistic == pytest.approx(answer.statistic, rel=1e-6)


class TestScipyDriftDetector(DriftDetectorConformance):
    detector = ScipyDriftDetector()


def test_without_alibi_detect_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [module for module in sys.modules if module.split(".")[0] == "alibi_detect"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "alibi_detect", None)
    with pytest.raises(DetectorError, match=r"selfheal-assets\[alibi\] or set drift\.detector: scipy"):
        AlibiDriftDetector().compare(*frames(0, 50, 50), ["colour", "pair"])
