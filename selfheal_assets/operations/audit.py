"""Audit the ledger: read all of it, say every place where it is not what was written. Never changes it."""

from collections.abc import Callable, Iterator

from selfheal_assets.core.ledger_breaks import Break, breaks
from selfheal_assets.core.ledger_chain import Link
from selfheal_assets.ports import Ledger

PAGE = 1_000


def verify(ledger: Ledger, progress: Callable[[int, int], None] = lambda _done, _all: None) -> list[Break]:
    """Every break of the ledger's chain, in its order; none for a sound one.

    What is appended meanwhile is not looked at. `progress` is told, after each page, how many records of how many
    were read.
    """
    head = ledger.head()
    then = ledger.as_of(max(head.sequence, head.newest))
    return breaks(_links(then, head.newest, progress), head)


def _links(ledger: Ledger, newest: int, progress: Callable[[int, int], None]) -> Iterator[Link]:
    place = 0
    while page := ledger.links(place, PAGE):
        yield from page
        place = page[-1].sequence
        progress(place, newest)
