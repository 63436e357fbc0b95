"""Import Feast once, without the argument checks and counters that cost a process. Never alters what it does."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

METRICS_FOLDERS = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")


def import_feast() -> None:
    """Have `feast` in `sys.modules`.

    Feast 0.67 decorates its classes with typeguard's `typechecked`, which recompiles them at every import: measured,
    3.3 of 4.3 s, in every run. `selfheal init` and `validate` import Feast as it is when they read declarations, so
    that a wrong type is still refused by Feast. To be dropped once importing Feast itself takes about a second.
    """
    if "feast" in sys.modules:
        return
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        with metrics_in_memory():
            import feast  # noqa: F401 - for sys.modules
    finally:
        typeguard.typechecked = checked


@contextmanager
def metrics_in_memory() -> Iterator[None]:
    """Keep Feast's counters in memory, and the environment as it was.

    Feast 0.67 makes a temporary folder in every process, for servers of several processes, and has Prometheus' client
    keep every counter there, a model server's own included; a killed process leaves it behind. The client decides by
    the environment when it is imported, so it is imported first.
    """
    import prometheus_client  # noqa: F401 - decides where counters are kept

    before = {name: os.environ.get(name) for name in METRICS_FOLDERS}
    try:
        yield
    finally:
        made = {os.environ.pop(name) for name, value in before.items() if value is None and name in os.environ}
        for folder in made - set(before.values()):
            with suppress(OSError):
                os.rmdir(folder)


def _as_it_is(target: Any = None, **_: Any) -> Any:
    """A decorator, with or without arguments, that decorates nothing."""
    return target if target is not None else _as_it_is
