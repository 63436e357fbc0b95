"""The example's cutter makes weekly batches of the public table, and says what is wrong with any other."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from selfheal_assets.core.errors import SelfhealError

ROOT = Path(__file__).parents[2]
PUBLIC = ROOT.parent / "shared" / "data" / "elec2.csv"
HEADER = "period,nswprice,nswdemand,vicprice,vicdemand,transfer,class"


@pytest.fixture(scope="module")
def cutter() -> ModuleType:
    found = importlib.util.spec_from_file_location("cut_batches", ROOT / "examples" / "electricity" / "cut_batches.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def written(folder: Path, rows: int, header: str = HEADER) -> Path:
    path = folder / "elec2.csv"
    lines = [f"{i % 48 / 47:.6f},0.05,0.4,0.003,0.42,{i},{i % 2}" for i in range(rows)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def run(cutter: ModuleType, *arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(cutter.main)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_batches_hold_every_row_once_in_order(cutter: ModuleType, tmp_path: Path) -> None:
    named = dict(cutter.batches(written(tmp_path, 25), 10))
    assert {name: len(frame) for name, frame in named.items()} == {
        "electricity-0000.parquet": 10,
        "electricity-0001.parquet": 10,
        "electricity-0002.parquet": 5,
    }
    frame = pd.concat(named.values(), ignore_index=True)
    assert list(frame) == ["event_id", "event_timestamp", "region", *HEADER.split(",")[:-1], "price_up"]
    assert frame["event_id"].tolist() == [f"nsw-{i:06d}" for i in range(25)]
    assert frame["transfer"].tolist() == list(range(25))
    assert frame["price_up"].tolist() == [i % 2 for i in range(25)]
    assert set(frame["region"]) == {"NSW"}
    assert str(frame["event_timestamp"].dtype) == "datetime64[us, UTC]"
    assert frame["event_timestamp"].iloc[0] == pd.Timestamp("1996-05-06T14:00Z")
    assert frame["event_timestamp"].diff().dropna().eq(pd.Timedelta(minutes=30)).all()


def test_the_script_drops_the_chosen_batches(cutter: ModuleType, tmp_path: Path) -> None:
    source, landing = written(tmp_path, 25), tmp_path / "landing"
    assert run(cutter, source, landing, "--rows", 5, "--first", 1, "--count", 2)[0] == 0
    assert sorted(os.listdir(landing)) == ["electricity-0001.parquet", "electricity-0002.parquet"]
    assert run(cutter, source, landing, "--rows", 5, "--first", 3)[0] == 0
    assert len(os.listdir(landing)) == 4
    assert pd.read_parquet(landing / "electricity-0004.parquet")["event_id"].tolist()[-1] == "nsw-000024"
    code, output = run(cutter, source, landing, "--rows", 5)
    assert (code, len(os.listdir(landing))) == (1, 5), "batch 0 was free; batch 1 stands and is not replaced"
    assert "exists" in output


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (HEADER.replace("class", "label") + "\n", "header"),
        ("date,day," + HEADER + "\n1,1,0,0,0,0,0,0,1\n", "without date and day"),
        (HEADER + "\n", "must have rows"),
        (HEADER + "\n0,0,0,0,0,0,UP\n", "class .* must hold 0 or 1 .*'UP' in row 0"),
        (HEADER + "\n0,0,0,0,0,0,1\n0,?,0,0,0,0,1\n", r"nswprice .* a number .*'\?' in row 1"),
        ("", "readable CSV"),
        ("\ufffd\x00\x01", "header|readable"),
    ],
)
def test_another_file_is_refused(cutter: ModuleType, tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(SelfhealError, match=complaint):
        list(cutter.batches(path))
    code, output = run(cutter, path, tmp_path / "landing")
    assert code == 1
    assert "Traceback" not in output
    assert not (tmp_path / "landing").exists()


def test_missing_file_no_rows_and_no_such_batch_are_refused(cutter: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SelfhealError, match="must exist"):
        list(cutter.batches(tmp_path / "none.csv"))
    with pytest.raises(SelfhealError, match="rows must be 1 or more; received 0"):
        list(cutter.batches(written(tmp_path, 3), 0))
    code, output = run(cutter, written(tmp_path, 3), tmp_path / "landing", "--first", 9)
    assert code == 1
    assert "received 9" in output


@pytest.mark.skipif(not PUBLIC.exists(), reason="the public Elec2 table is not beside the repository")
def test_the_public_table_is_135_weeks(cutter: ModuleType) -> None:
    named = list(cutter.batches(PUBLIC))
    assert len(named) == 135
    assert sum(len(frame) for _, frame in named) == 45_312
    assert named[-1][1]["event_timestamp"].max() == pd.Timestamp("1998-12-06T23:30+10:00")
    assert all(0.2 < frame["price_up"].mean() < 0.7 for _, frame in named)
