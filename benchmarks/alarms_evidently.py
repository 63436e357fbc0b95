"""Ask Evidently about batches from an environment of its own: frames in, its verdict out. Never imports it here.

Evidently 0.7 pins packages otherwise than our lock, so it lives in a virtual environment in a cache folder, made once
by pip, and answers from a child process that reads Parquet files. `alarms_evidently_child.py` says what is asked.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

EVIDENTLY = "0.7.23"
# Evidently 0.7.23 does not say so, but it cannot be imported with pandas 3.
REQUIREMENTS = (f"evidently=={EVIDENTLY}", "pandas<3", "pyarrow")
CHILD = Path(__file__).resolve().with_name("alarms_evidently_child.py")
INSTALL_SECONDS = 900
SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class EvidentlySays:
    """Of one batch."""

    dataset_drift: bool
    """Its preset's verdict: at least half of the columns drifted."""
    share: float
    """Of the columns that drifted by its own tests."""


def environment(cache: Path) -> tuple[Path | None, str]:
    """The Python of Evidently's environment, made if need be; None and why not where that fails."""
    folder = cache / f"evidently-{EVIDENTLY}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if ready.exists():
        return python, ""
    try:
        venv.create(folder, with_pip=True, clear=True)
        for command in (["-m", "pip", "install", "--quiet", *REQUIREMENTS], [str(CHILD), "--check"]):
            _run([str(python), *command])
    except (OSError, subprocess.SubprocessError) as error:
        return None, _words(error)
    ready.touch()
    return python, ""


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=_variables())


def _variables() -> dict[str, str]:
    # Evidently tells its makers of its use unless it is asked not to.
    return {**os.environ, "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _words(error: Exception) -> str:
    said = str(getattr(error, "stderr", "") or error).strip().splitlines()
    return (said[-1] if said else type(error).__name__)[-SHOWN_CHARACTERS:]


class Evidently:
    """A running child; it ends with its parent, whose end of the pipe it reads."""

    def __init__(self, python: Path, folder: Path) -> None:
        """`folder` is for its files; whoever made it removes it."""
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._errors = (self._folder / "errors.txt").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [str(python), str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_variables(),
        )
        self._reference: pd.DataFrame | None = None

    def judge(self, reference: pd.DataFrame, batch: pd.DataFrame, categorical: tuple[str, ...]) -> EvidentlySays:
        """Its default preset of `batch` against `reference`. RuntimeError when the child has ended."""
        before, after = (self._folder / name for name in ("reference.parquet", "batch.parquet"))
        if self._reference is not reference:
            reference.to_parquet(before, index=False)
            self._reference = reference
        batch.to_parquet(after, index=False)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"reference": str(before), "batch": str(after), "categorical": list(categorical)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(
                f"Evidently must answer; it ended with {code}: {self._errors.read()[-SHOWN_CHARACTERS:]}"
            )
        answer = json.loads(line)
        return EvidentlySays(dataset_drift=answer["dataset_drift"], share=answer["share"])


def cache_folder() -> Path:
    """Where the environment is kept between runs; SELFHEAL_BENCHMARK_CACHE names another place."""
    given = os.environ.get("SELFHEAL_BENCHMARK_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "selfheal-benchmarks"
