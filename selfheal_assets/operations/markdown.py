"""Lay rows out as a Markdown table: headings and cells in, text out. Computes nothing."""

from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def code(*words: object) -> str:
    """The words as code, with commas between them."""
    return ", ".join(f"`{word}`" for word in words)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
