"""Hold `serving.defaults` against the features that are stored: both in, values of their types out. Invents none."""

from collections.abc import Mapping
from math import isfinite

Default = float | int | str
_WHOLE, _REAL = ("Int32", "Int64"), ("Float32", "Float64")


def default_problems(defaults: Mapping[str, float | str], stored: Mapping[str, str]) -> list[str]:
    """Every mistake, as a sentence. `stored`: the features that the store keeps, with Feast's types."""
    problems = []
    unknown = sorted(set(defaults) - set(stored))
    if unknown:
        problems.append(
            f"serving.defaults must name features of the store, {sorted(stored)}; received {unknown}. "
            "Correct or drop them: request and on-demand features need none."
        )
    for name, value in defaults.items():
        if name in stored and typed_default(value, stored[name]) is None:
            problems.append(
                f"serving.defaults must be of the feature's type; {name!r} is {stored[name]}, received {value!r}. "
                "Give a value of that type, or none: the feature is missing then."
            )
    return problems


def typed_default(value: float | str, kind: str) -> Default | None:
    """The value as the store would hand it out; None when it is not of Feast's type `kind`."""
    if kind == "String":
        return value if isinstance(value, str) else None
    if isinstance(value, str) or not isfinite(value):
        return None
    if kind in _WHOLE:
        return int(value) if value == int(value) else None
    return float(value) if kind in _REAL else None
