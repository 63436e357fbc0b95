"""What a server is told before it starts: the model, the token, where it is found."""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from selfheal_assets.core.errors import ServingError, SpecError
from selfheal_assets.project import PROJECT
from selfheal_assets.server_files import Server, registered, running
from selfheal_assets.serving.__main__ import main
from selfheal_assets.serving.logs import JsonLines
from selfheal_assets.serving.settings import admin_token, served_spec


def test_a_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n", encoding="utf-8")
    assert admin_token({}) is None
    assert admin_token({"SELFHEAL_SERVING_TOKEN": ""}) is None
    assert admin_token({"SELFHEAL_SERVING_TOKEN": "t"}) == "t"
    assert admin_token({"SELFHEAL_SERVING_TOKEN_FILE": str(file)}) == "from-file"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_token_file_must_hold_one(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError, match="SELFHEAL_SERVING_TOKEN_FILE must"):
        admin_token({"SELFHEAL_SERVING_TOKEN_FILE": str(file)})


def test_only_a_declared_model_is_served() -> None:
    assert served_spec("payments", (PROJECT,)).name == "payments"
    with pytest.raises(SpecError, match=r"received 'nothing'\. Declared are: "):
        served_spec("nothing", (PROJECT,))


def test_a_server_is_found_while_it_runs(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / f"{int(gone.stdout)}.json").write_text("{}", encoding="utf-8")
    (tmp_path / "strange.json").write_text("[]", encoding="utf-8")
    server = Server(url="http://127.0.0.1:1", pid=os.getpid(), started=datetime(2026, 3, 10, tzinfo=UTC))
    with registered(tmp_path, server) as place:
        assert json.loads(place.read_text(encoding="utf-8"))["url"] == server.url
        assert running(tmp_path) == [server]
        assert list(tmp_path.glob("*.json")) == [place]
    assert running(tmp_path) == []
    assert running(tmp_path / "none") == []


def test_a_log_line_is_one_json_object() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, __file__, 1, "said it", (), sys.exc_info())
    line = JsonLines().format(record)
    assert "\n" not in line
    assert {"level": "error", "message": "said it"}.items() <= orjson.loads(line).items()


@pytest.mark.parametrize(
    "wrong", [["--port", "65536"], ["--port", "x"], ["--workers", "0"], ["--port", "9" * 5000], []]
)
def test_a_wrong_argument_is_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*wrong, *(["payments"] if wrong else [])])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_without_a_home_no_server_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit, match="ServingError: A server of payments needs a home") as ended:
        main(["payments"])
    assert isinstance(ended.value.code, str)
    assert not home.exists()


def test_the_server_imports_neither_dagster_nor_what_trains() -> None:
    script = (
        "import sys, selfheal_assets.serving.__main__, selfheal_assets.serving.wiring, selfheal_assets.serving.app\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT)
    names = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert names.isdisjoint(
        {"dagster", "optuna", "alibi_detect", "great_expectations", "river", "matplotlib", "feast", "mlflow", "xgboost"}
    )
