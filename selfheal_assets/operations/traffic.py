"""Keep a running instance busy: simulated batches, one after another, as long as it is asked. Never ends by itself."""

import time
from collections.abc import Iterator
from itertools import count

from selfheal_assets.simulator.landing import Dropped, simulate
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.wiring import Services

MODEL = "payments"
ROWS = 2_500
DAY = ("healthy", "healthy", "bad_rows", "healthy", "benign_shift", "healthy", "unit_change", "healthy")
"""What happens to the batches, over and over; the world itself moves every third time round."""
ROUNDS_A_WORLD = 3
LABELS_LATE = 2


def wait() -> Iterator[Dropped]:
    """Yields nothing, until it is interrupted."""
    yield from ()
    while True:
        time.sleep(1.0)


def keep_dropping(services: Services, seconds: float) -> Iterator[Dropped]:
    """Drop a batch every `seconds`, going on after the last index that ever landed."""
    folder, world = services.batches.landing(MODEL), PaymentsWorld()
    for index in count(_next_index(services)):
        rounds, position = divmod(index, len(DAY))
        usual = Regime.HEALTHY if (rounds // ROUNDS_A_WORLD) % 2 == 0 else Regime.HARMFUL_SHIFT
        yield from simulate(world, [(index, DAY[position])], ROWS, folder, usual=usual, labels_after=LABELS_LATE)
        time.sleep(seconds)


def _next_index(services: Services) -> int:
    from selfheal_assets.core.record import RecordKind

    registered = services.ledger.newest(MODEL, RecordKind.BATCH_REGISTERED)
    landed = [file.path.stem for file in services.batches.landed(MODEL)]
    names = [*(record.payload["file_name"].split(".")[0] for record in registered), *landed]
    numbers = [int(name.rsplit("-", 1)[1]) for name in names if name.rsplit("-", 1)[-1].isdigit()]
    return max(numbers, default=-1) + 1
