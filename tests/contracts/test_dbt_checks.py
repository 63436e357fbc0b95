"""Checks files in dbt's schema syntax: what they become, and every mistake reported at once with its line."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from selfheal_assets.adapters.dbt_checks import TESTS, load_checks
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec
from selfheal_assets.core.quality import Check, Scope

ROOT = Path(__file__).resolve().parents[2]


def spec(name: str = "shop", request: tuple[str, ...] = ("amount",)) -> ModelSpec:
    return ModelSpec(
        name=name,
        description="A shop.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="time", label="y", entities=("account",)),
        features=FeaturesSpec(service="shop", request=request),
    )


COLUMNS = """\
      - {name: id, data_type: string}
      - {name: time, data_type: timestamp}
      - {name: account, data_type: string}
      - {name: y, data_type: integer}
"""


def write(folder: Path, amount_tests: str = "", model_tests: str = "", amount_type: str = "float") -> Path:
    """A checks file whose column `amount` begins at line 10 and its first test at line 13."""
    lines = ["version: 2", "models:", "  - name: shop", "    description: x", "    columns:", *COLUMNS.splitlines()]
    lines += ["      - name: amount", f"        data_type: {amount_type}"]
    if amount_tests:
        lines += ["        data_tests:", *("          " + line for line in dedent(amount_tests).strip().splitlines())]
    if model_tests:
        lines += ["    data_tests:", *("      " + line for line in dedent(model_tests).strip().splitlines())]
    folder.mkdir(exist_ok=True)
    (folder / "shop.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def load_one(folder: Path, *args: str) -> Check:
    (check,) = load_checks([write(folder, *args)], spec())
    return check


def mistakes(folder: Path, request: tuple[str, ...] = ("amount",)) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_checks([folder], spec(request=request))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_bare_test(tmp_path: Path) -> None:
    assert load_one(tmp_path, "- not_null") == Check(
        name="not_null_shop_amount", test="not_null", scope=Scope.ROW, column="amount"
    )


@pytest.mark.parametrize(
    "text",
    [
        "- accepted_range: {min_value: 1, max_value: 2.5, severity: warn, where: y = 1}",
        "- accepted_range: {arguments: {min_value: 1, max_value: 2.5}, config: {severity: WARN, where: y = 1}}",
        "- accepted_range: {arguments: {min_value: 1}, max_value: 2.5, config: {severity: Warn}, where: y = 1}",
    ],
)
def test_arguments_and_settings_stand_flat_or_nested(tmp_path: Path, text: str) -> None:
    check = load_one(tmp_path, text)
    assert check.arguments == {"min_value": 1, "max_value": 2.5}
    assert (check.severity, check.where, check.scope) == ("warn", "y = 1", Scope.ROW)


def test_a_name_and_a_description_of_its_own(tmp_path: Path) -> None:
    check = load_one(tmp_path, "- not_null: {name: amount_is_there, description: Every order has one.}")
    assert (check.name, check.description) == ("amount_is_there", "Every order has one.")


@pytest.mark.parametrize("text", ["2026-01-01", "'2026-01-01'", "2026-01-01T00:00:00Z", "2026-01-01 01:00:00+01:00"])
def test_bounds_may_be_times_read_as_utc(tmp_path: Path, text: str) -> None:
    check = load_one(tmp_path, f"- accepted_range: {{min_value: {text}}}", "", "timestamp")
    assert check.arguments == {"min_value": datetime(2026, 1, 1, tzinfo=UTC)}


def test_tests_of_the_model_know_the_declared_columns(tmp_path: Path) -> None:
    write(
        tmp_path,
        model_tests="- column_set\n- column_types\n- row_count: {min_value: 1}\n- freshness: {max_age_hours: 2}",
    )
    found = {check.test: check for check in load_checks([tmp_path], spec())}
    assert found["column_set"].arguments == {"columns": ("id", "time", "account", "y", "amount")}
    assert found["column_types"].arguments["types"]["amount"] == "float"
    assert found["row_count"].name == "row_count_shop"
    assert all(check.scope is Scope.TABLE and check.column is None for check in found.values())


def test_unique_looks_into_earlier_batches_for_the_event_id_only(tmp_path: Path) -> None:
    assert load_one(tmp_path, "- unique").arguments == {"across_batches": False}
    text = (tmp_path / "shop.yml").read_text().replace("{name: id,", "{name: id, data_tests: [unique],")
    (tmp_path / "shop.yml").write_text(text)
    assert load_checks([tmp_path], spec())[0].arguments == {"across_batches": True}


def test_the_first_folder_that_has_the_file_counts(tmp_path: Path) -> None:
    write(tmp_path / "second", "- unique")
    (tmp_path / "empty").mkdir()
    assert [check.test for check in load_checks([tmp_path / "empty", tmp_path / "second"], spec())] == ["unique"]
    write(tmp_path / "first", "- not_null")
    assert [check.test for check in load_checks([tmp_path / "first", tmp_path / "second"], spec())] == ["not_null"]


def test_no_file_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path) == [f"shop.yml:1: the file must exist; received none in ['{tmp_path}']; write it"]


def test_every_mistake_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        - not_nul
        - accepted_range: {min_value: 3, max_value: 2}
        - accepted_values: {value: [1]}
        - not_null: {severity: eror}
        - not_null: {config: {wehre: y = 1}}
        - unique
        - unique
        - max_missing: {share: 7}
        - row_count: {min_value: 1}
        - relationships: {to: ref('other'), field: nope}
        - quantile_between_reference: {quantile: a half}
        """,
        "- freshness\n- finite",
    )
    found = mistakes(tmp_path)
    lines = [int(text.split(":")[1]) for text in found]
    assert sorted(lines) == [13, 14, 15, 15, 16, 17, 19, 20, 21, 22, 22, 23, 23, 25, 26]
    assert all(text.startswith("shop.yml:") and text.count("; ") >= 2 and "; received " in text for text in found)
    text = "\n".join(found)
    for words in (
        "(did you mean not_null?)",
        "min_value of accepted_range must be at most max_value, and of its type; received [3, 2]",
        "accepted_values must be given values",
        "received 'value'; remove it (did you mean values?)",
        "severity must be 'error' or 'warn'; received 'eror'",
        "(did you mean where?)",
        "received 'unique_shop_amount'",
        "share of max_missing must be a number from 0 to 1; received 7",
        "row_count must stand under a model's data_tests",
        "relationships must be to ref('shop')",
        "field must be a declared column; received 'nope'",
        "quantile of quantile_between_reference must be a number from 0 to 1; received 'a half'",
        "quantile_between_reference must be given max_shift_sd",
        "freshness must be given max_age_hours or max_future_hours",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("tests", "data_type", "words"),
    [
        ("- accepted_values: {values: []}", "string", "a list of one or more"),
        ("- accepted_values: {values: web}", "string", "a list of one or more"),
        ("- accepted_values: {values: [web, no]}", "string", "data_type string; received [False]"),
        ("- accepted_values: {values: [1, '2']}", "integer", "data_type integer; received ['2']"),
        ("- accepted_range: {min_value: 2026-01-01}", "float", "data_type float"),
        ("- accepted_range: {min_value: .inf}", "float", "a finite number or a timestamp"),
        ("- accepted_range: {min_value: true}", "float", "a finite number or a timestamp"),
        ("- accepted_range: {min_value: soon}", "timestamp", "received 'soon'"),
        ("- accepted_range: {min_value: 1, inclusive: 'yes'}", "float", "true or false"),
        ("- accepted_range: {inclusive: true}", "float", "must be given min_value or max_value"),
        ("- accepted_range: {min_value: 1}", "string", "must test a column of type"),
        ("- finite", "string", "must test a column of type"),
        ("- not_null: {values: [1]}", "float", "received 'values'"),
        ("- not_null: {where: 3}", "float", "where of not_null must be text; received 3"),
        ("- not_null: {name: a-b}", "float", "letters, digits and underscores; received 'a-b'"),
        ("- not_null: {severity: warn, config: {severity: warn}}", "float", "severity must be given once"),
        ("- not_null: {severity: warn, severity: warn}", "float", "must have each key once"),
        ("- not_null: [1]", "float", "must be a mapping"),
        ("- {not_null: , unique: }", "float", "a test must be one of"),
        ("- 3", "float", "a test must be one of"),
        ("- mean_between_reference: {max_shift_sd: 0}", "float", "above 0; received 0"),
        ("- mean_between", "float", "must be given min_value or max_value"),
        ("- mean_between: {min_value: 1, max_value: 0}", "float", "mean_between must be at most max_value"),
        ("- mean_between: {min_value: 2026-01-01}", "integer", "data_type integer"),
        ("- mean_between: {min_value: 0}", "string", "must test a column of type"),
        ("- relationships: {to: shop, field: id}", "float", "ref('<model>'); received 'shop'"),
        ("- accepted_range: {min_value: 2026-13-45}", "timestamp", "a value must be plain YAML"),
        ("- not_null: {description: !!python/object:os.system x}", "float", "a value must be plain YAML"),
        ("not_null", "float", "must be lists"),
        ("- not_null", "money", "data_type must be one of"),
    ],
)
def test_one_mistake(tmp_path: Path, tests: str, data_type: str, words: str) -> None:
    write(tmp_path, tests, "", data_type)
    assert any(words in text for text in mistakes(tmp_path))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "models must be one entry, named 'shop'"),
        ("- a list", 1, "the file must be a mapping"),
        ("version: 2\nmodels:\n  - name: [", 3, "must be YAML in UTF-8"),
        ("version: 1\nmodels:\n  - {name: shop, columns: []}", 1, "version must be 2; received 1"),
        ("models:\n  - name: other\n", 1, "named 'shop'; received ['other']"),
        ("models:\n  - name: shop\n    colums: []\n", 3, "(did you mean columns?)"),
        ("models:\n  - name: shop\n    columns:\n    - {name: id}\n    - {name: id}\n", 5, "a name of its own"),
        ("models:\n  - name: shop\n    columns:\n    - {data_type: string}\n", 4, "a name of its own"),
        ("models:\n  - name: shop\n    columns:\n    - {name: id, tests: [unique]}\n", 4, "did you mean data_tests?"),
    ],
)
def test_mistakes_of_structure(tmp_path: Path, text: str, line: int, words: str) -> None:
    (tmp_path / "shop.yml").write_text(text)
    found = [mistake for mistake in mistakes(tmp_path) if words in mistake]
    assert found
    assert found[0].startswith(f"shop.yml:{line}: ")


def test_bytes_that_are_no_text_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "shop.yml").write_bytes(b"\xff\xfe\x00bad")
    assert "must be YAML in UTF-8" in mistakes(tmp_path)[0]


def test_columns_that_the_model_names_must_be_declared(tmp_path: Path) -> None:
    write(tmp_path)
    assert "none for ['colour']" in mistakes(tmp_path, request=("amount", "colour"))[0]


def test_column_types_needs_a_type_for_every_column(tmp_path: Path) -> None:
    write(tmp_path, model_tests="- column_types: {where: y = 1}")
    text = (tmp_path / "shop.yml").read_text().replace(", data_type: integer", "")
    (tmp_path / "shop.yml").write_text(text)
    assert "column_types must not have a where" in mistakes(tmp_path)[0]
    (tmp_path / "shop.yml").write_text(text.replace(": {where: y = 1}", ""))
    assert "none for ['y']" in mistakes(tmp_path)[0]


def test_singular_sql_of_the_model(tmp_path: Path) -> None:
    write(tmp_path)
    singular = tmp_path / "singular"
    singular.mkdir()
    (singular / "assert_a.sql").write_text(
        "-- No order is\n-- free.\nselect id from {{ ref('shop') }} where amount = 0"
    )
    (singular / "assert_b.sql").write_text("{{ config(severity='warn') }}\n-- B.\nselect * from {{ref(\"shop\")}}")
    (singular / "assert_other.sql").write_text("select * from {{ ref('other') }}")
    (singular / "draft.sql").write_text("not a test")
    first, second = load_checks([tmp_path], spec())
    assert (first.name, first.test, first.severity) == ("assert_a", "singular", "error")
    assert first.arguments["event_id"] == "id"
    assert first.arguments["sql"].endswith('select id from "shop" where amount = 0')
    assert first.description == "No order is free."
    assert (second.severity, second.description) == ("warn", "B.")
    assert second.arguments["sql"].strip() == '-- B.\nselect * from "shop"'


@pytest.mark.parametrize(
    ("sql", "line", "words"),
    [
        ("select 1", 1, "exactly one model"),
        ("select * from {{ ref('shop') }} join {{ ref('other') }}", 1, "exactly one model"),
        ("\n{{ config(severity='eror') }} select * from {{ ref('shop') }}", 2, "received \"config(severity='eror')\""),
        ("select * from {{ ref('shop') }} where {{ var('x') }}", 1, "received \"var('x')\""),
    ],
)
def test_mistakes_in_singular_sql(tmp_path: Path, sql: str, line: int, words: str) -> None:
    write(tmp_path)
    (tmp_path / "singular").mkdir()
    (tmp_path / "singular" / "assert_x.sql").write_text(sql)
    (found,) = mistakes(tmp_path)
    assert found.startswith(f"singular/assert_x.sql:{line}: ")
    assert words in found


def test_the_payments_checks_use_every_test_and_have_names_fit_for_dagster() -> None:
    payments = ModelSpec(
        name="payments",
        description="d",
        owners=("team:tests",),
        data=DataSpec(
            event_id="payment_id", event_timestamp="event_timestamp", label="is_fraud", entities=("account_id",)
        ),
        features=FeaturesSpec(service="s", request=("merchant_category", "amount", "distance_km")),
    )
    checks = load_checks([ROOT / "dbt_like_checks"], payments)
    assert {check.test for check in checks} == {*TESTS, "singular"}
    assert all(check.name.isidentifier() and "payments" in check.name for check in checks)
    assert len({check.name for check in checks}) == len(checks)


def test_importing_the_reader_loads_nothing_heavy() -> None:
    code = (
        "import sys, selfheal_assets.adapters.dbt_checks;"
        "print([m for m in ('pandas', 'numpy', 'duckdb', 'great_expectations') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]"
