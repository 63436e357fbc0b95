"""Run `selfheal rehearse` as a person does: a table on the terminal, JSON and a picture in files."""

import json
from pathlib import Path

from typer.testing import CliRunner

from selfheal_assets.cli import app
from selfheal_assets.rehearsal.history import FIRST_BATCHES, episodes


def test_the_command_prints_a_table_and_writes_every_figure(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    wanted = ["rehearse", "payments", "--batches", "10", "--rows", "1200", "--seeds", "1", "--faults", "unit_change"]
    files = ["--json", str(figures), "--plot", str(picture)]
    said = CliRunner().invoke(app, [*wanted, "--rivals", "never,random", "--draws", "1", "--workers", "1", *files])
    assert said.exit_code == 0, said.output
    assert "never" in said.output
    written = json.loads(figures.read_text(encoding="utf-8"))
    assert written["histories"][0]["faults"] == episodes(["unit_change"], 10)
    assert written["histories"][0]["bad_data"] == [FIRST_BATCHES]
    assert written["means"]["never"]["retrains"] == 0
    assert written["means"]["policy"]["missed heals"] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_said_plainly() -> None:
    for arguments, word in (
        (["nobody"], "must be declared"),
        (["payments", "--faults", "sunshine"], "A fault must be one of"),
        (["payments", "--rivals", "sometimes"], "A rival must be"),
        (["payments", "--batches", "8"], "must have 8 batches and one for each"),
        (["payments", "--history", "/nowhere/at/all"], "must be a folder"),
    ):
        said = CliRunner().invoke(app, ["rehearse", *arguments, "--workers", "1"])
        assert said.exit_code == 1
        assert word in " ".join(said.output.split())


def test_episodes_of_the_world_last_longer() -> None:
    plan = episodes(["bad_rows", "harmful_shift"], 16)
    assert plan == [
        *["healthy"] * 8, "bad_rows", "healthy", *["harmful_shift"] * 4, "healthy", "healthy"
    ]  # fmt: skip
    assert episodes([], 3) == ["healthy"] * 3
