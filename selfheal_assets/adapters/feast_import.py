"""Import Feast once, without the argument checks and counters that cost a process. Never alters what it does."""

import sys
from typing import Any


def import_feast() -> None:
    """Have `feast` in `sys.modules`, and `feast.metrics` not.

    Feast 0.67 decorates its classes with typeguard's `typechecked`, which recompiles them at every import: measured,
    3.3 of 4.3 s, in every run. `selfheal init` and `validate` import Feast as it is when they read declarations, so
    that a wrong type is still refused by Feast. To be dropped once importing Feast itself takes about a second.

    Where `prometheus_client` is installed, its module `metrics` makes a temporary folder for every process, and points
    Prometheus' environment variables there: a server's own metrics would follow. Feast does without, as it does without
    `prometheus_client`.
    """
    sys.modules.setdefault("feast.metrics", None)  # type: ignore[arg-type]  # how Python says: not to be imported
    if "feast" in sys.modules:
        return
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        import feast  # noqa: F401 - for sys.modules
    finally:
        typeguard.typechecked = checked


def _as_it_is(target: Any = None, **_: Any) -> Any:
    """A decorator, with or without arguments, that decorates nothing."""
    return target if target is not None else _as_it_is
