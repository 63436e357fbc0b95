"""Write down which servers run, for whoever looks for them: a server in, a file while it runs. Never ends one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from selfheal_assets.durable import replaced


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs, or was killed."""

    url: str
    pid: int
    started: datetime


def model_root(home: Path, model: str) -> Path:
    """Where the servers of a model keep what is their own."""
    return home / "serving" / model


def servers_folder(home: Path, model: str) -> Path:
    """One file a running server."""
    return model_root(home, model) / "servers"


@contextmanager
def registered(folder: Path, server: Server) -> Iterator[Path]:
    """The server stands in `folder` as `<pid>.json` inside; files of servers that were killed are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("[!.]*.json"):
        if not is_alive(file.stem):
            file.unlink(missing_ok=True)
    place = folder / f"{server.pid}.json"
    with replaced(place) as draft:
        draft.write_text(json.dumps(asdict(server), default=datetime.isoformat), encoding="utf-8")
    try:
        yield place
    finally:
        place.unlink(missing_ok=True)


def running(folder: Path) -> list[Server]:
    """Those that stand in the folder and whose process is there, by start."""
    return [server for server in _standing(folder) if is_alive(server.pid)]


def killed(folder: Path) -> list[Server]:
    """Those that stand in the folder and whose process is gone: it had no time to take its file away. By start."""
    return [server for server in _standing(folder) if not is_alive(server.pid)]


def _standing(folder: Path) -> list[Server]:
    found = []
    for file in folder.glob("[!.]*.json"):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            server = Server(url=said["url"], pid=said["pid"], started=datetime.fromisoformat(said["started"]))
        except (OSError, ValueError, KeyError, TypeError):  # it ends at this moment, or is none of ours
            continue
        found.append(server)
    return sorted(found, key=lambda server: server.started)


def is_alive(pid: int | str) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
