"""The command `selfheal serve`: becomes the model server's own process. Holds no logic, and imports no server."""

import os
import sys
from typing import Annotated

import typer


def serve(
    model: Annotated[str, typer.Argument(help="Name of a declared model.")],
    port: Annotated[
        int | None,
        typer.Option(help="By default serving.port of the model; 0 for any that is free.", min=0, max=65_535),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.", min=1, max=64)] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Answer requests with the model's champion until SIGTERM or Ctrl-C; prints the URL."""
    given = [f"--host={host}", f"--workers={workers}", *([] if port is None else [f"--port={port}"]), "--", model]
    command = [sys.executable, "-m", "selfheal_assets.serving", *given]
    os.execv(sys.executable, command)
