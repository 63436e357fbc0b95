"""Every plot is a small, readable PNG, whatever it is given to draw."""

import io
import math
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from selfheal_assets.adapters.scipy_drift import ScipyDriftDetector
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope
from selfheal_assets.stages import plots
from selfheal_assets.stages.drift_frames import compare_frames, compare_scores
from selfheal_assets.stages.plots.canvas import VERMILLION

LONG = "a_very_long_name_" * 20
HOSTILE = ["$x^{2", "漢字 und größer", "two\nlines\x00\x07", "<b>&amp;</b>", r"\frac{", "", " ", LONG, "_", "%s{}"]
MAX_BYTES = 60_000
SPEC = ModelSpec(
    name="m",
    description="d",
    owners=("team:x",),
    data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("e",)),
    features=FeaturesSpec(service="s", categorical=("colour", LONG)),
)


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def picture(png: bytes) -> Image.Image:
    """The decoded image, after what holds for every plot."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) <= MAX_BYTES
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert image.width == 900
    assert 150 <= image.height <= 900
    assert len(image.getcolors(1 << 20) or []) > 1
    return image


def share_of(image: Image.Image, colour: str) -> float:
    """Share of the pixels near a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    near = np.abs(np.asarray(image).astype(int) - wanted).max(axis=2) < 12
    return float(near.mean())


def frames(seed: int = 0, rows: int = 400) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(seed)
    reference, batch = (
        pd.DataFrame(
            {
                "amount": generator.lognormal(shift, 1.0, rows),
                "colour": generator.choice(list("abcdefghij"), rows),
                "constant": 1.0,
                "nothing": np.nan,
            }
        )
        for shift in (0.0, 1.0)
    )
    return reference, batch


def drawn(reference: pd.DataFrame, batch: pd.DataFrame) -> Image.Image:
    assessment = compare_frames(SPEC, ScipyDriftDetector(), reference, batch, {})
    return picture(plots.drift_plot(assessment, reference, batch))


def test_drift_of_usual_features() -> None:
    assert share_of(drawn(*frames()), VERMILLION) > 0.0005


def test_drift_without_a_raised_feature_has_nothing_in_the_colour_of_alarm() -> None:
    reference, _ = frames()
    assert share_of(drawn(reference, reference.copy()), VERMILLION) == 0.0


def test_drift_of_more_features_than_panels_stays_bounded() -> None:
    generator = np.random.default_rng(0)
    wide = pd.DataFrame({f"feature number {i} {LONG}": generator.normal(size=300) for i in range(40)})
    assert drawn(wide, wide + 1.0).height < 900


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_drift_of_hardly_any_rows(rows: int) -> None:
    reference, batch = frames()
    drawn(reference, batch.head(rows))
    drawn(reference.head(rows), batch)


@pytest.mark.parametrize(
    "values",
    [
        [np.nan], [np.inf, -np.inf], [1e308, -1e308], [5e-324, 0.0], [1e16, 1e16 + 2], [0.0], [-1e-300, 1e300],
        [3.0, 3.0 + 1e-15],
    ],
    ids=str,
)  # fmt: skip
def test_drift_of_numbers_at_the_edges(values: list[float]) -> None:
    reference = pd.DataFrame({"x": np.resize(values, 300)})
    drawn(reference, pd.DataFrame({"x": np.linspace(0, 1, 300)}))
    drawn(pd.DataFrame({"x": np.linspace(0, 1, 300)}), reference)
    drawn(reference, reference)


def test_drift_of_hostile_names_categories_and_a_missing_column() -> None:
    reference = pd.DataFrame({name: np.linspace(0, 1, 300) for name in HOSTILE}).assign(colour=np.resize(HOSTILE, 300))
    drawn(reference, reference.drop(columns=["_"]).assign(colour=None))


def test_drift_of_no_features() -> None:
    drawn(pd.DataFrame(index=range(300)), pd.DataFrame(index=range(300)))


@pytest.mark.parametrize("batch", [np.linspace(0, 1, 300), np.full(300, np.nan), np.array([]), np.array([0.5])])
def test_scores(batch: np.ndarray) -> None:
    reference = np.random.default_rng(0).beta(1, 8, 500)
    for pair in ((reference, batch), (batch, reference)):
        picture(plots.score_plot(compare_scores(SPEC, ScipyDriftDetector(), *pair), *pair))


def evidence(place: int, value: float | None, status: Status = Status.CLEAR, batch_id: str = "") -> Evidence:
    return Evidence(
        model="m",
        signal=Signal.PERFORMANCE,
        status=status,
        batch_id=batch_id or f"batch-{place:04d}-0123456789ab",
        champion_version="1",
        event_time=datetime(2026, 1, 1, tzinfo=UTC),
        value=value,
        threshold=0.8 if place % 2 else None,
        sample_size=1,
        reason="",
    )


def test_performance_over_batches() -> None:
    series = [evidence(i, 0.85 + 0.01 * math.sin(i)) for i in range(20)]
    calm = picture(plots.performance_plot("roc_auc", series, series[-1].batch_id, (0.8, 0.9), 0.86))
    harmed = [*series, evidence(20, 0.7, Status.RAISED), evidence(21, None, Status.UNKNOWN)]
    alarmed = picture(plots.performance_plot("roc_auc", harmed, "batch-0020-0123456789ab", (0.65, 0.75), 0.86))
    assert share_of(alarmed, VERMILLION) > share_of(calm, VERMILLION)


@pytest.mark.parametrize(
    "series",
    [
        [],
        [evidence(0, None, Status.UNKNOWN)],
        [evidence(0, 0.5)],
        [evidence(0, math.nan), evidence(1, math.inf), evidence(2, 0.7)],
        [evidence(i, 0.8, batch_id=name) for i, name in enumerate(HOSTILE)],
        [evidence(i, 0.8) for i in range(2_000)],
    ],
    ids=["none", "unknown", "one", "not finite", "hostile names", "two thousand"],
)
def test_performance_of_odd_histories(series: list[Evidence]) -> None:
    last = series[-1].batch_id if series else "gone"
    picture(plots.performance_plot("log_loss", series, last, (math.nan, math.inf), math.nan))
    picture(plots.performance_plot("log_loss", series, "gone", None))


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [{"number": 0, "state": "COMPLETE", "score": 0.8, "window": 2}],
        [{"number": 0, "state": "FAIL", "score": None, "window": None}],
        [{"number": 0, "state": "COMPLETE", "score": math.nan, "window": 2}, {"number": 1}],
        [
            {"number": i, "state": ("COMPLETE", "PRUNED")[i % 2], "score": 0.5 + i / 1e3, "window": 1 + i % 9}
            for i in range(200)
        ],
    ],
    ids=["none", "one", "failed", "not finite", "many"],
)
def test_tuning(trials: list[dict[str, Any]]) -> None:
    picture(plots.tuning_plot(trials, "log_loss"))


GATES = [
    GateResult("metric_floor", Verdict.PASS, 0.8, 0.6, None, "roc_auc 0.8 on 500 rows; required at least 0.6."),
    GateResult("not_worse_than_champion", Verdict.PASS, 0.02, -0.01, (0.01, 0.03), "better than the champion."),
    GateResult("latency", Verdict.FAIL, 60.0, 50.0, None, LONG),
    GateResult("$" + LONG, Verdict.INCONCLUSIVE, None, None, None, "\n".join(HOSTILE)),
]


def holdout(rows: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, rows).astype(float)
    return label, np.clip(label * 0.4 + generator.random(rows) * 0.6, 0, 1), generator.random(rows)


def test_validation_shows_failure_in_its_colour() -> None:
    failed = picture(plots.validation_plot(GATES, *holdout()))
    passed = picture(plots.validation_plot(GATES[:1], *holdout()))
    assert share_of(failed, VERMILLION) > 0.0005 > share_of(passed, VERMILLION)


@pytest.mark.parametrize(
    "scores",
    [
        holdout(),
        (*holdout()[:2], None),
        (np.ones(50), np.full(50, 0.3), None),
        (np.full(50, np.nan), np.full(50, np.nan), np.full(50, np.nan)),
        (np.array([]), np.array([]), np.array([])),
        (np.array([1.0]), np.array([0.5]), None),
        (np.array([0.0, 1.0]), np.array([0.5, 0.5]), np.array([math.inf, 0.2])),
        (np.array([0.0, 1.0]), np.array([-3.0, 7.0]), None),
    ],
    ids=["usual", "first", "one class", "nan", "empty", "one row", "infinite", "no probabilities"],
)
def test_validation_of_odd_holdouts(scores: tuple[Any, Any, Any]) -> None:
    picture(plots.validation_plot(GATES, *scores))


@pytest.mark.parametrize(
    "gates",
    [
        [],
        [GateResult("not_worse_than_champion", Verdict.INCONCLUSIVE, 0.1, -0.01, (math.nan, math.inf), "")],
        [GateResult("not_worse_than_champion", Verdict.PASS, math.nan, None, None, "")],
        [GateResult("not_worse_than_champion", Verdict.PASS, 0.0, 0.0, (0.0, 0.0), "")],
    ],
    ids=["no gates", "no interval", "nan", "zero"],
)
def test_validation_of_odd_gates(gates: list[GateResult]) -> None:
    picture(plots.validation_plot(gates, *holdout()))


def outcome(name: str, status: CheckStatus, failing: int = 0, **check: Any) -> CheckOutcome:
    declared = Check(**{"name": name, "test": "t", "scope": Scope.ROW, **check})
    return CheckOutcome(check=declared, status=status, observed="$1 \n two", failing_rows=tuple(range(failing)))


def test_quality_shows_failing_rows_as_bars_and_counts_every_check() -> None:
    passing = [outcome(f"check_{i}", CheckStatus.PASSED) for i in range(60)]
    calm = picture(plots.quality_plot(passing, 1_000))
    failing = [outcome("not_null_amount", CheckStatus.FAILED, 80), *passing]
    alarmed = picture(plots.quality_plot(failing, 1_000))
    assert share_of(calm, VERMILLION) == 0.0
    assert share_of(alarmed, VERMILLION) > 0.005


@pytest.mark.parametrize("rows", [0, 1, 1_000])
def test_quality_of_odd_outcomes(rows: int) -> None:
    odd = [
        outcome(LONG, CheckStatus.FAILED, rows),
        outcome("warned", CheckStatus.FAILED, 1, severity="warn"),
        outcome("broken", CheckStatus.ERRORED),
        outcome("table", CheckStatus.FAILED, scope=Scope.TABLE),
        *(outcome(name, CheckStatus.FAILED, 1) for name in HOSTILE),
    ]
    picture(plots.quality_plot(odd, rows))
    picture(plots.quality_plot([], rows))


@pytest.mark.parametrize(
    "counts",
    [
        pd.DataFrame({"holdout": [0, 0, 500], "train": [2_000, 2_000, 1_500]}, index=["a", "b", "c"]),
        pd.DataFrame({"train": [1]}, index=[LONG]),
        pd.DataFrame({"holdout": [np.nan], "train": [3.0], "$other": [2]}, index=[None]),
        pd.DataFrame({"train": range(2_000), "holdout": 1}),
        pd.DataFrame({"train": [0]}, index=["a"]),
        pd.DataFrame(),
    ],
    ids=["usual", "one", "gaps", "two thousand", "zero", "empty"],
)
def test_training_window(counts: pd.DataFrame) -> None:
    picture(plots.training_window_plot(counts))


def test_the_same_data_are_the_same_bytes() -> None:
    reference, batch = frames()
    assessment = compare_frames(SPEC, ScipyDriftDetector(), reference, batch, {})
    assert plots.drift_plot(assessment, reference, batch) == plots.drift_plot(assessment, reference, batch)
