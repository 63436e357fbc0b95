"""The checks that are declared for payments, on the simulator's faults: broken data is told from harmless change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters import gx_data_docs
from selfheal_assets.adapters.dbt_checks import load_checks
from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks
from selfheal_assets.core.batch_gate import BatchVerdict, judge_batch
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec
from selfheal_assets.ports import CheckContext
from selfheal_assets.simulator.faults import FAULTS
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.checked_rows import labels_suffice

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Known = dict[str, set[str]]
PAYMENTS = ModelSpec(
    name="payments",
    description="d",
    owners=("team:tests",),
    data=DataSpec(event_id="payment_id", event_timestamp="event_timestamp", label="is_fraud", entities=("account_id",)),
    features=FeaturesSpec(service="s", request=("amount",)),
)
TRUTH = {
    "healthy": BatchVerdict.CLEAN,
    "bad_rows": BatchVerdict.PARTIAL,
    "null_burst": BatchVerdict.QUARANTINED,
    "unit_change": BatchVerdict.QUARANTINED,
    "renamed_column": BatchVerdict.QUARANTINED,
    "extra_column": BatchVerdict.QUARANTINED,
    "missing_column": BatchVerdict.QUARANTINED,
    "new_category": BatchVerdict.QUARANTINED,
    "stale_data": BatchVerdict.QUARANTINED,
    "small_batch": BatchVerdict.QUARANTINED,
    "benign_shift": BatchVerdict.CLEAN,
    "harmful_shift": BatchVerdict.CLEAN,
    "concept_change": BatchVerdict.CLEAN,
    "label_flip": BatchVerdict.QUARANTINED,
    "one_class": BatchVerdict.QUARANTINED,
}


@pytest.fixture(scope="module")
def payments_verdict(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., BatchVerdict]:
    adapter = GreatExpectationsChecks(tmp_path_factory.mktemp("payments"))
    checks = load_checks([Path(__file__).resolve().parents[2] / "dbt_like_checks"], PAYMENTS)

    def verdict(rows: pd.DataFrame, reference: pd.DataFrame | None, known: Known | None = None) -> BatchVerdict:
        given = CheckContext(
            model="payments",
            batch_id="b-1",
            now=NOW,
            event_timestamp="event_timestamp",
            reference=reference,
            earlier=lambda column, values: values.isin((known or {}).get(column, set())),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gx_data_docs, "publish", lambda *_: None)
            enough = labels_suffice(PAYMENTS, int(rows["is_fraud"].count()), len(rows))
            asked = [check for check in checks if enough or not check.waits_for_labels("is_fraud")]
            return judge_batch(adapter.evaluate(rows, asked, given), len(rows), 0.05).verdict

    return verdict


def payments(index: int, regime: Regime = Regime.HEALTHY) -> pd.DataFrame:
    rows = PaymentsWorld().batch(index, 1000, regime)
    return rows.assign(event_timestamp=pd.to_datetime(rows["event_timestamp"], utc=True).astype("datetime64[us, UTC]"))


def damaged(name: str) -> pd.DataFrame:
    fault = FAULTS[name]
    rows = payments(3, fault.regime)
    return rows if fault.apply is None else fault.apply(rows, np.random.default_rng(5))


@pytest.mark.parametrize("name", TRUTH)
def test_payments_faults_are_told_from_harmless_change(
    payments_verdict: Callable[..., BatchVerdict], name: str
) -> None:
    assert payments_verdict(damaged(name), payments(0)) is TRUTH[name]


@pytest.mark.parametrize("name", ["healthy", "unit_change"])
def test_payments_faults_before_the_first_champion(payments_verdict: Callable[..., BatchVerdict], name: str) -> None:
    assert payments_verdict(damaged(name), None) is TRUTH[name]


@pytest.mark.parametrize(
    ("bad", "verdict"), [(0, BatchVerdict.CLEAN), (20, BatchVerdict.PARTIAL), (200, BatchVerdict.QUARANTINED)]
)
def test_labels_may_be_missing_and_never_strange(
    payments_verdict: Callable[..., BatchVerdict], bad: int, verdict: BatchVerdict
) -> None:
    """Without a single label a batch is clean: they may come later."""
    rows = payments(3).assign(is_fraud=np.where(np.arange(1000) < bad, 7.0, np.nan))
    assert payments_verdict(rows, payments(0)) is verdict


def test_a_batch_that_came_before_and_a_shift_of_the_mean(payments_verdict: Callable[..., BatchVerdict]) -> None:
    rows = payments(3)
    assert payments_verdict(rows, None, {"payment_id": set(rows["payment_id"])}) is BatchVerdict.QUARANTINED
    dearer = rows.assign(amount=(rows["amount"] * 2.5).clip(upper=5000))
    assert payments_verdict(dearer, payments(0)) is BatchVerdict.CLEAN
    ahead = rows.assign(event_timestamp=rows["event_timestamp"] + timedelta(days=365 * 80))
    assert payments_verdict(ahead, None) is BatchVerdict.QUARANTINED
