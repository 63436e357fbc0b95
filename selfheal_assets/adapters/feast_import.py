"""Import Feast once, without the argument checks that it compiles into its classes. Never alters what it does."""

import sys
from typing import Any


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
        import feast  # noqa: F401 - for sys.modules
    finally:
        typeguard.typechecked = checked


def _as_it_is(target: Any = None, **_: Any) -> Any:
    """A decorator, with or without arguments, that decorates nothing."""
    return target if target is not None else _as_it_is
