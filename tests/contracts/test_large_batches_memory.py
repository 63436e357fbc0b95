"""How the memory of taking in and checking a batch grows with its rows, in fresh processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("large_batch_child.py")
FEW, MANY = 300_000, 600_000
BYTES_A_ROW = 650
"""Allowed for each further row: half of what it takes in a stage that holds the whole batch."""


def peak_mb(home: Path, rows: int) -> float:
    said = subprocess.run(
        [sys.executable, str(CHILD), str(home), str(rows)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert said.returncode == 0, said.stderr
    return float(said.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the memory")
def test_further_rows_take_little(tmp_path: Path) -> None:
    few, many = (peak_mb(tmp_path / str(rows), rows) for rows in (FEW, MANY))
    assert (many - few) * 1e6 / (MANY - FEW) < BYTES_A_ROW, (few, many)
