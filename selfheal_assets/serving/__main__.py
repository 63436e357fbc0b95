"""Serve one model over HTTP, `python -m selfheal_assets.serving MODEL`, until SIGTERM. Never trains or heals."""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import SelfhealError, ServingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.project import home_from_environment, roots_from_environment
from selfheal_assets.server_files import Server, registered
from selfheal_assets.serving.logs import CONFIGURATION, configure_logs
from selfheal_assets.serving.settings import METRICS, MODEL, Folders, admin_token, served_spec

if TYPE_CHECKING:
    import socket

    import uvicorn

FACTORY = "selfheal_assets.serving.wiring:app_from_environment"
GRACE_SECONDS = 10
"""How long requests that are being answered may take to end after SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve; a mistake is told in one line, with exit code 1."""
    given = _arguments(arguments)
    try:
        serve(given.model, host=given.host, port=given.port, workers=given.workers)
    except SelfhealError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def serve(model: str, *, host: str, port: int | None, workers: int) -> None:
    """Answer until SIGTERM or SIGINT; then what is being answered is finished, and the log landed."""
    signal.signal(signal.SIGTERM, _leave)
    home = home_from_environment()
    spec = served_spec(model, roots_from_environment())
    admin_token()  # a mistake in it is told here, not by each worker
    _require_home(home, spec)
    folders = Folders(home=home, model=spec.name)
    _prepare(folders, workers)
    configure_logs()
    config = _configuration(host, spec.serving.port if port is None else port, workers)
    with config.bind_socket() as listening:
        where = f"[{host}]" if ":" in host else host
        url = f"http://{where}:{listening.getsockname()[1]}"
        with registered(folders.servers, Server(url=url, pid=os.getpid(), started=datetime.now(UTC))):
            print(url, flush=True)
            _run(config, listening)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("selfheal-serve", description="Serve one model over HTTP.")
    parser.add_argument("model", help="name of a declared model")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, help="default: serving.port of the model; 0: any that is free")
    parser.add_argument("--workers", type=_workers, default=1, help="processes (default: %(default)s)")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    return _between(text, 0, 65_535)


def _workers(text: str) -> int:
    return _between(text, 1, 64)


def _between(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text[:9]) <= high:
        raise argparse.ArgumentTypeError(f"must be a number from {low} to {high}; received {text!r}")
    return int(text)


def _require_home(home: Path, spec: ModelSpec) -> None:
    if not (home / "layout").exists():
        raise ServingError(
            f"A server of {spec.name} needs a home that was made; received {home}. "
            "Set SELFHEAL_HOME, or run `selfheal init`."
        )


def _prepare(folders: Folders, workers: int) -> None:
    """Before prometheus_client is imported: it decides at its import whether processes share their metrics."""
    os.environ[MODEL] = folders.model
    os.environ.setdefault("PROMETHEUS_DISABLE_CREATED_SERIES", "True")
    os.environ.pop(METRICS, None)
    if workers > 1:
        own = folders.metrics / str(os.getpid())
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        os.environ[METRICS] = str(own)


def _configuration(host: str, port: int, workers: int) -> "uvicorn.Config":
    import uvicorn

    return uvicorn.Config(
        FACTORY,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=CONFIGURATION,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=30,
    )


def _run(config: "uvicorn.Config", listening: "socket.socket") -> None:
    """As `uvicorn.run`, over a socket that is bound already, so that its port is known."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    if config.workers > 1:
        Multiprocess(config, sockets=[listening]).run()
        shutil.rmtree(os.environ[METRICS], ignore_errors=True)
    else:
        uvicorn.Server(config).run(sockets=[listening])


def _leave(_: int, __: FrameType | None) -> None:
    """uvicorn raises the signal again when it has ended: the process ends as one that was asked to."""
    sys.exit(0)


if __name__ == "__main__":
    main()
