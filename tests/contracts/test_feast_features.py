"""Holds FeastFeatures, on real Feast in a temporary home, to the contract of the feature store port."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters.feast_features import FeastFeatures
from selfheal_assets.core.errors import FeatureError, SpecError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec
from selfheal_assets.ports import Published

PROJECT = Path(__file__).parents[2]
ROOTS = (PROJECT, PROJECT / "examples" / "electricity")
# Event times run ahead of the wall clock, as in simulations.
START = pd.Timestamp("2031-03-01", tz="UTC")

PAYMENTS = ModelSpec(
    name="payments",
    description="Fraud",
    owners=("team:risk",),
    data=DataSpec(event_id="payment_id", event_timestamp="event_timestamp", label="is_fraud", entities=("account_id",)),
    features=FeaturesSpec(service="payments_v1", request=("amount", "channel"), categorical=("channel",)),
)
ELECTRICITY = ModelSpec(
    name="electricity",
    description="Price",
    owners=("team:energy",),
    data=DataSpec(event_id="event_id", event_timestamp="event_timestamp", label="price_up", entities=("region",)),
    features=FeaturesSpec(service="electricity_v1", request=("period", "nswdemand")),
)
HISTORY = ["payments_1h", "amount_mean_30d", "amount_max_6h", "distinct_merchants_6h", "seconds_since_previous"]


class World:
    """A home with clean batches on disk and the store over them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.features = FeastFeatures(home, ROOTS, self.clean_files)

    def clean_files(self, model: str) -> list[Path]:
        return sorted((self.home / "clean" / model).glob("*.parquet"))

    def land(self, spec: ModelSpec, batch_id: str, rows: pd.DataFrame) -> Published:
        target = self.home / "clean" / spec.name / f"{batch_id}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(target)
        return self.features.publish(spec, batch_id, rows)


def payments(seed: int, start: pd.Timestamp, rows: int = 120, days: float = 6, accounts: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    moments = start + pd.to_timedelta(np.sort(rng.integers(0, int(days * 86_400e6), rows)), unit="us")
    return pd.DataFrame(
        {
            "payment_id": [f"p{seed}-{number}" for number in range(rows)],
            "event_timestamp": moments.astype("datetime64[us, UTC]"),
            "account_id": [f"a{number}" for number in rng.integers(0, accounts, rows)],
            "merchant_id": [f"m{number}" for number in rng.integers(0, 12, rows)],
            "channel": rng.choice(["web", "pos"], rows),
            "amount": np.round(rng.gamma(2.0, 20.0, rows), 2),
            "is_fraud": rng.integers(0, 2, rows),
        }
    )


def one_payment(account: str, moment: pd.Timestamp, amount: float, **columns: object) -> pd.DataFrame:
    row = payments(0, moment, rows=1).assign(account_id=account, amount=amount, **columns)
    return row.assign(event_timestamp=pd.Series([moment]).astype("datetime64[us, UTC]"))


def brute_force(known: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """The definitions in plain pandas: state after the account's last payment strictly before each row."""
    answers = []
    for row in asked.itertuples():
        mine = known[(known.account_id == row.account_id) & (known.event_timestamp < row.event_timestamp)]
        if mine.empty or row.event_timestamp > mine.event_timestamp.max() + pd.Timedelta(days=30, microseconds=1):
            answers.append([np.nan] * len(HISTORY))
            continue
        last = mine.event_timestamp.max()
        month = mine[mine.event_timestamp >= last - pd.Timedelta(days=30)]
        quarter_day = mine[mine.event_timestamp >= last - pd.Timedelta(hours=6)]
        hour = mine[mine.event_timestamp >= last - pd.Timedelta(hours=1)]
        before = month.event_timestamp[month.event_timestamp < last].max()
        gap = (last - before).total_seconds() if pd.notna(before) else np.nan
        answers.append(
            [len(hour), month.amount.mean(), quarter_day.amount.max(), quarter_day.merchant_id.nunique(), gap]
        )
    frame = pd.DataFrame(answers, columns=HISTORY, index=asked.index, dtype="float64")
    return frame.assign(amount_ratio=asked.amount / frame.amount_mean_30d, log_amount=np.log1p(asked.amount))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Payments over ten weeks: four batches, each published in its turn."""
    world = World(tmp_path_factory.mktemp("home"))
    world.features.apply()
    for number in range(4):
        world.land(PAYMENTS, f"b{number}", payments(number, START + pd.Timedelta(days=20 * number)))
    return world


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.features.apply()
    return world


def known_payments(world: World) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in world.clean_files("payments")], ignore_index=True)


class TestNames:
    def test_request_columns_come_first_then_the_service_in_order(self, world: World) -> None:
        assert world.features.names(PAYMENTS) == ["amount", "channel", *HISTORY, "amount_ratio", "log_amount"]

    def test_an_undeclared_service_is_a_feature_error(self, world: World) -> None:
        spec = dataclasses.replace(PAYMENTS, features=FeaturesSpec(service="nowhere"))
        with pytest.raises(FeatureError, match=r"nowhere.*selfheal init"):
            world.features.names(spec)


class TestHistorical:
    def test_equals_a_brute_force_computation(self, world: World) -> None:
        rows = known_payments(world).sample(frac=1.0, random_state=3)
        found = world.features.historical(PAYMENTS, rows)
        expected = brute_force(known_payments(world), rows)
        pd.testing.assert_frame_equal(found[expected.columns.tolist()], expected)
        assert found.payments_1h.notna().mean() > 0.8
        assert list(found) == world.features.names(PAYMENTS)

    def test_keeps_order_index_and_types(self, world: World) -> None:
        rows = known_payments(world).sample(50, random_state=1)
        rows.index = pd.Index([7] * 25 + [3] * 25, name="repeated")
        found = world.features.historical(PAYMENTS, rows)
        assert found.index.equals(rows.index)
        assert found.channel.tolist() == rows.channel.tolist()
        assert found.amount.tolist() == rows.amount.tolist()
        assert set(found.drop(columns="channel").dtypes) == {np.dtype("float64")}

    def test_payments_of_one_account_and_instant_are_all_kept_and_see_none_of_each_other(self, world: World) -> None:
        row = known_payments(world).tail(1)
        twins = pd.concat([row.assign(payment_id=f"twin{number}") for number in range(3)])
        found = world.features.historical(PAYMENTS, twins)
        assert len(found) == 3
        assert len(found.drop_duplicates()) == 1

    def test_an_unknown_or_missing_account_has_no_history(self, world: World) -> None:
        rows = known_payments(world).tail(2).assign(account_id=["stranger", None])
        found = world.features.historical(PAYMENTS, rows)
        assert found[[*HISTORY, "amount_ratio"]].isna().all(axis=None)
        assert np.allclose(found.log_amount, np.log1p(rows.amount))

    def test_no_rows_give_no_rows(self, world: World) -> None:
        for method in (world.features.historical, world.features.online):
            found = method(PAYMENTS, known_payments(world).head(0))
            assert list(found) == world.features.names(PAYMENTS)
            assert len(found) == 0

    def test_naive_nanosecond_times_are_read_as_utc(self, world: World) -> None:
        rows = known_payments(world).tail(20)
        naive = rows.assign(event_timestamp=rows.event_timestamp.dt.tz_localize(None).astype("datetime64[ns]"))
        pd.testing.assert_frame_equal(
            world.features.historical(PAYMENTS, naive), world.features.historical(PAYMENTS, rows)
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"account_id": None}, "account_id"),
            ({"event_timestamp": None}, "event_timestamp"),
            ({"channel": None}, "channel"),
        ],
    )
    def test_a_missing_column_is_a_feature_error(self, world: World, change: dict, message: str) -> None:
        with pytest.raises(FeatureError, match=f"{message}.*missing"):
            world.features.historical(PAYMENTS, known_payments(world).drop(columns=list(change)))

    def test_a_text_among_numbers_is_a_feature_error(self, world: World) -> None:
        rows = known_payments(world).tail(2).astype({"amount": object})
        rows.iloc[0, rows.columns.get_loc("amount")] = "a lot"
        with pytest.raises(FeatureError, match="amount"):
            world.features.historical(PAYMENTS, rows)


class TestOnline:
    def test_equals_the_join_at_any_later_moment(self, world: World) -> None:
        now = known_payments(world).event_timestamp.max() + pd.Timedelta(seconds=1)
        rows = payments(9, now, rows=40, days=1e-5, accounts=10).sample(frac=1.0, random_state=2)
        pd.testing.assert_frame_equal(world.features.online(PAYMENTS, rows), world.features.historical(PAYMENTS, rows))
        assert world.features.online(PAYMENTS, rows).payments_1h.isna().any()

    def test_values_past_their_ttl_are_missing_as_in_the_join(self, world: World) -> None:
        rows = known_payments(world).tail(5)
        rows = rows.assign(event_timestamp=rows.event_timestamp + pd.Timedelta(days=40))
        found = world.features.online(PAYMENTS, rows)
        assert found[[*HISTORY, "amount_ratio"]].isna().all(axis=None)
        pd.testing.assert_frame_equal(found, world.features.historical(PAYMENTS, rows))

    def test_needs_no_event_timestamp(self, world: World) -> None:
        rows = known_payments(world).tail(3)[["account_id", "amount", "channel"]]
        assert world.features.online(PAYMENTS, rows).payments_1h.notna().all()

    def test_a_missing_account_has_no_history(self, world: World) -> None:
        rows = known_payments(world).tail(2).assign(account_id=[None, "a1"])
        found = world.features.online(PAYMENTS, rows)
        assert found.payments_1h.isna().tolist() == [True, False]
        assert found.log_amount.notna().all()


class TestPublish:
    def test_before_the_first_batch_everything_is_answered_without_history(self, fresh: World) -> None:
        rows = payments(1, START, rows=5)
        for method in (fresh.features.historical, fresh.features.online):
            found = method(PAYMENTS, rows)
            assert found[HISTORY].isna().all(axis=None)
            assert found.amount.tolist() == rows.amount.tolist()

    def test_twice_changes_nothing(self, fresh: World) -> None:
        rows = payments(1, START)
        first = fresh.land(PAYMENTS, "b1", rows)
        asked = rows.assign(event_timestamp=rows.event_timestamp.max() + pd.Timedelta(hours=1))
        before = fresh.features.online(PAYMENTS, asked), fresh.features.historical(PAYMENTS, asked)
        file = fresh.home / "features" / "payments" / "b1.parquet"
        content = file.read_bytes()
        second = fresh.land(PAYMENTS, "b1", rows)
        assert first.offline_rows == second.offline_rows == {"payments_history": len(rows)}
        assert (first.online_rows, second.online_rows) == (rows.account_id.nunique(), 0)
        known_from = rows.event_timestamp.max() + pd.Timedelta(microseconds=1)
        assert first.materialized_until == second.materialized_until == known_from
        assert file.read_bytes() == content
        pd.testing.assert_frame_equal(before[0], fresh.features.online(PAYMENTS, asked))
        pd.testing.assert_frame_equal(before[1], fresh.features.historical(PAYMENTS, asked))

    def test_a_late_batch_fills_gaps_and_never_replaces_newer_values(self, fresh: World) -> None:
        fresh.land(PAYMENTS, "newer", one_payment("a1", START + pd.Timedelta(days=3), 100.0))
        late = pd.concat([one_payment("a1", START, 1.0), one_payment("a2", START + pd.Timedelta(days=1), 5.0)])
        published = fresh.land(PAYMENTS, "late", late)
        asked = pd.DataFrame({"account_id": ["a1", "a2"], "amount": [100.0, 10.0], "channel": "web"})
        found = fresh.features.online(PAYMENTS, asked)
        assert found.amount_mean_30d.tolist() == [100.0, 5.0]
        assert found.amount_ratio.tolist() == [1.0, 2.0]
        assert published.online_rows == 1
        assert published.materialized_until == START + pd.Timedelta(days=3, microseconds=1)

    def test_a_batch_published_after_a_kill_makes_up_for_the_one_before(
        self, fresh: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("selfheal_assets.adapters.feast_features.refresh", killed)
            with pytest.raises(KeyboardInterrupt):
                fresh.land(PAYMENTS, "b1", one_payment("a1", START, 10.0))
        fresh.land(PAYMENTS, "b2", one_payment("a2", START + pd.Timedelta(days=1), 20.0))
        asked = pd.DataFrame({"account_id": ["a1", "a2"], "amount": 1.0, "channel": "web"})
        assert fresh.features.online(PAYMENTS, asked).amount_mean_30d.tolist() == [10.0, 20.0]

    def test_recorded_intervals_stay_few(self, fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("selfheal_assets.adapters.feast_online._INTERVALS_KEPT", 2)
        ends = []
        for number in range(4):
            moment = START + pd.Timedelta(days=number)
            ends.append(fresh.land(PAYMENTS, f"b{number}", one_payment("a1", moment, 1.0)).materialized_until)
        view = fresh.features._store.get_feature_view("payments_history")
        assert len(view.materialization_intervals) < 4
        assert ends == [START + pd.Timedelta(days=number, microseconds=1) for number in range(4)]

    def test_unfinished_files_are_not_read(self, fresh: World) -> None:
        fresh.land(PAYMENTS, "b1", payments(1, START))
        (fresh.home / "features" / "payments" / ".b2.parquet.tmp").write_bytes(b"half of a file")
        assert len(fresh.features.historical(PAYMENTS, payments(1, START))) == 120

    def test_without_rows_nothing_is_published(self, fresh: World) -> None:
        published = fresh.land(PAYMENTS, "b1", payments(1, START).head(0))
        assert published.offline_rows == {"payments_history": 0}
        assert published.materialized_until is None

    def test_a_batch_that_lacks_a_column_publishes_nothing(self, fresh: World) -> None:
        with pytest.raises(FeatureError, match="merchant_id"):
            fresh.features.publish(PAYMENTS, "b1", payments(1, START).drop(columns="merchant_id"))
        assert [path.name for path in (fresh.home / "features" / "payments").iterdir()] == ["_schema.parquet"]

    @pytest.mark.parametrize("batch_id", ["../b1", ".hidden", "_schema", ""])
    def test_a_batch_id_must_be_a_plain_name(self, world: World, batch_id: str) -> None:
        with pytest.raises(FeatureError, match="plain file name"):
            world.features.publish(PAYMENTS, batch_id, payments(1, START))


class TestElectricity:
    def test_an_overlay_lives_beside_the_main_repository(self, world: World) -> None:
        hours = pd.date_range(START, periods=400, freq="30min").as_unit("us")
        rows = pd.DataFrame(
            {
                "event_id": np.arange(400),
                "event_timestamp": hours,
                "region": "NSW",
                "period": np.linspace(0, 1, 400),
                "nswprice": np.random.default_rng(5).random(400),
                "nswdemand": np.random.default_rng(6).random(400),
                "price_up": 1,
            }
        )
        world.land(ELECTRICITY, "w1", rows.head(336))
        world.land(ELECTRICITY, "w2", rows.tail(64))
        found = world.features.historical(ELECTRICITY, rows)
        price, demand = rows.nswprice.shift(1), rows.nswdemand.shift(1)
        expected = {
            "nswprice_last": price,
            "nswprice_mean_24h": price.rolling(48, min_periods=1).mean(),
            "nswdemand_mean_7d": demand.rolling(336, min_periods=1).mean(),
            "last_price_above_24h": price - price.rolling(48, min_periods=1).mean(),
            "demand_change": rows.nswdemand - demand,
        }
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, err_msg=name)
        assert world.features.names(PAYMENTS)[:2] == ["amount", "channel"]


class TestProblems:
    def test_the_shipped_models_have_none(self, world: World) -> None:
        assert world.features.problems(PAYMENTS) == []
        assert world.features.problems(ELECTRICITY) == []

    def test_every_mistake_is_told_at_once(self, world: World) -> None:
        spec = dataclasses.replace(
            PAYMENTS,
            data=dataclasses.replace(PAYMENTS.data, entities=("customer_id",)),
            features=FeaturesSpec(service="payments_v1", request=("payments_1h",), categorical=("colour",)),
        )
        told = "\n".join(world.features.problems(spec))
        for fragment in ("['amount'] are missing", "'payments_1h'] more than once", "['colour']", "['customer_id']"):
            assert fragment in told

    def test_an_unknown_service_names_those_that_exist(self, world: World) -> None:
        spec = dataclasses.replace(PAYMENTS, features=FeaturesSpec(service="payments_v2"))
        (problem,) = world.features.problems(spec)
        assert "payments_v1" in problem
        assert "electricity_v1" in problem

    def test_a_view_of_another_model_is_told(self, world: World) -> None:
        (problem,) = world.features.problems(dataclasses.replace(PAYMENTS, name="cards"))
        assert "history_source('cards')" in problem

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("SELECT account_id FROM", "valid DuckDB SQL"),
            ("SELECT 1; SELECT 2", "one SELECT"),
            ("", "one SELECT"),
            ("WITH a AS (SELECT 1 AS b) SELECT b, 2 AS event_timestamp FROM a", "'payments_1h'"),
            ("SELECT account_id FROM batch UNION ALL SELECT account_id FROM history", "'event_timestamp'"),
        ],
    )
    def test_a_broken_transform_is_told(self, tmp_path: Path, sql: str, message: str) -> None:
        from selfheal_assets.adapters.feast_transforms import transform_problems

        path = tmp_path / "payments.sql"
        path.write_text(sql)
        (problem,) = transform_problems(path, ["account_id", "payments_1h"])
        assert message in problem

    def test_files_that_do_not_import_or_clash_are_told(self, tmp_path: Path) -> None:
        views = tmp_path / "overlay" / "feature_repo" / "views"
        views.mkdir(parents=True)
        (views / "broken.py").write_text("import nothing_of_this_name")
        (views / "clash.py").write_text(
            "from feast import Entity, ValueType\n"
            "other = Entity(name='account', join_keys=['iban'], value_type=ValueType.STRING)\n"
        )
        features = FeastFeatures(tmp_path / "home", (*ROOTS, tmp_path / "overlay"), lambda _: [])
        told = "\n".join(features.problems(PAYMENTS))
        assert "nothing_of_this_name" in told
        assert "another 'account'" in told
        with pytest.raises(SpecError, match="nothing_of_this_name"):
            features.apply()


def test_a_service_may_have_request_features_only(tmp_path: Path) -> None:
    repository = tmp_path / "overlay" / "feature_repo"
    repository.mkdir(parents=True)
    (repository / "views.py").write_text(
        "from feast import FeatureService, Field, RequestSource\n"
        "from feast.on_demand_feature_view import on_demand_feature_view\n"
        "from feast.types import Float64\n"
        "asked = RequestSource(name='asked', schema=[Field(name='amount', dtype=Float64)])\n"
        "@on_demand_feature_view(sources=[asked], schema=[Field(name='half', dtype=Float64)], mode='pandas')\n"
        "def halves(inputs):\n"
        "    import pandas as pd\n"
        "    return pd.DataFrame({'half': inputs['amount'] / 2})\n"
        "halves_v1 = FeatureService(name='halves_v1', features=[halves])\n"
    )
    features = FeastFeatures(tmp_path / "home", (PROJECT, tmp_path / "overlay"), lambda _: [])
    features.apply()
    spec = dataclasses.replace(PAYMENTS, name="halves", features=FeaturesSpec(service="halves_v1", request=("amount",)))
    rows = payments(1, START, rows=6)
    assert features.problems(spec) == []
    assert features.publish(spec, "b1", rows).offline_rows == {}
    for method in (features.historical, features.online):
        assert method(spec, rows).half.tolist() == (rows.amount / 2).tolist()


def test_apply_again_is_cheap_and_leaves_no_trace(world: World) -> None:
    modules, environment, path = set(sys.modules), dict(os.environ), list(sys.path)
    again = FeastFeatures(world.home, ROOTS, world.clean_files)
    again.apply()
    assert "_store" not in vars(again)
    again.problems(PAYMENTS)
    assert not {"entities", "sources", "services", "views"} & (set(sys.modules) - modules)
    assert (dict(os.environ), list(sys.path)) == (environment, path)
