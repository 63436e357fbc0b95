"""A process that logs answers until it is told to end: `python FILE HOME PREFIX COMMIT_MS LOG_ROWS PAUSE`.

It notes when each row was taken in the file `HOME/PREFIX`, which is mapped memory: what it noted outlives a SIGKILL.
"""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

import numpy as np
from logged import columns, logged, spec

from selfheal_assets.core.errors import LogFullError
from selfheal_assets.serving.prediction_log import PredictionLog

ROWS = 300_000


class Machine:
    def now(self) -> datetime:
        return datetime.now(UTC)


def main(home: str, prefix: str, commit_ms: str, log_rows: str, pause: str) -> None:
    taken = np.memmap(Path(home) / prefix, np.float64, "w+", shape=(ROWS,))
    log = PredictionLog(Path(home), spec(commit_ms=float(commit_ms), log_rows=int(log_rows)), columns(), Machine())
    told = list[int]()

    def end(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, end)
    for number in range(ROWS):
        if told:
            break
        try:
            log.append([logged(f"{prefix}{number}")])
            taken[number] = monotonic()
            if pause != "0":
                sleep(float(pause))
        except LogFullError:
            sleep(0.001)
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
