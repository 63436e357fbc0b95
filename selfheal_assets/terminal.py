"""Speak to a person in a terminal: the console, and our own errors in plain words. Never decides anything."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from selfheal_assets.core.errors import SelfhealError

console = Console(width=None if sys.stdout.isatty() else 132)


@contextmanager
def said_plainly() -> Iterator[None]:
    """Our own errors are for people: their message, no traceback, exit code 1."""
    try:
        yield
    except SelfhealError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
