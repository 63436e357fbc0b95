"""Keep processes apart: a name in, the only holder of that name at a time out. Never outlives its process."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import BusyError

if TYPE_CHECKING:
    from sqlalchemy import Engine

Alone = Callable[[str, float], AbstractContextManager[None]]
"""(name, seconds to wait) -> a context in which no other process is; BusyError when the turn does not come in time."""


def in_turn(folder: Path) -> Alone:
    """Among the processes of this machine, by a locked file a name."""

    @contextmanager
    def alone(name: str, seconds: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock", timeout=seconds)
        try:
            lock.acquire()
        except Timeout as error:
            raise _busy(name, seconds) from error
        try:
            yield
        finally:
            lock.release()

    return alone


class DatabaseTurns:
    """Among the processes of all machines that share a PostgreSQL, by its advisory locks.

    A lock lives as long as its connection: PostgreSQL drops it when its holder dies, and when PostgreSQL itself is
    restarted. What is done under it must therefore bear being done twice, one after another.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None

    @contextmanager
    def __call__(self, name: str, seconds: float) -> Iterator[None]:
        import sqlalchemy as sa
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import NullPool

        if self._engine is None:
            self._engine = sa.create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with ExitStack() as held:
            try:
                connection = held.enter_context(self._engine.connect())
                connection.execute(sa.text(f"set lock_timeout = {max(1, int(seconds * 1000))}"))
                connection.execute(sa.select(sa.func.pg_advisory_lock(_number(name))))
            except DBAPIError as error:
                raise _busy(name, seconds) from error
            yield


def _number(name: str) -> int:
    """PostgreSQL's name of a lock: 64 bits, with a sign."""
    from hashlib import sha256

    return int.from_bytes(sha256(b"selfheal " + name.encode()).digest()[:8], signed=True)


def _busy(name: str, seconds: float) -> BusyError:
    return BusyError(
        f"One process at a time may hold {name!r}; received no turn in {seconds:g} s. See which process holds it, and "
        "that the lock's folder or database can be used."
    )
