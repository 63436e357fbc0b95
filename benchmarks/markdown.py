"""Write figures as Markdown: headers and rows in, a table out, on the terminal and in a file. Never computes one."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, its columns aligned for reading as plain text too; the first one to the left."""
    cells = [list(headers), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(headers))]
    rule = [f"{'-' * (width - 1)}:" if place else "-" * width for place, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(_aligned(line, widths))} |" for line in (cells[0], rule, *cells[1:]))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = [(cell.ljust(width), cell.rjust(width)) for cell, width in zip(line, widths, strict=True)]
    return [first[0], *(right for _, right in others)]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median, with least and greatest where there are several."""
    middle = f"{median(values):.2f}{unit}"
    return middle if len(values) == 1 else f"{middle} [{min(values):.2f}, {max(values):.2f}]"


def machine() -> str:
    """One line on what was measured with: without it no absolute figure means a thing."""
    packages = ("dagster", "great-expectations", "feast", "mlflow", "xgboost", "optuna")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores{load}, Python {platform.python_version()}, {versions}"


def publish(text: str, write: Path | None) -> None:
    """To stdout, and to the file where one is given."""
    print(text, flush=True)
    if write is not None:
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_text(text + "\n", encoding="utf-8")


def publish_between(text: str, write: Path | None, begin: str, end: str) -> None:
    """To stdout, and between the marks of the document where one is given. ValueError when it lacks them."""
    print(text, flush=True)
    if write is not None:
        before, _, rest = write.read_text(encoding="utf-8").partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{write} must have the marks {begin} and {end}, in this order; add them.")
        write.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
