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


@contextmanager
def registered(folder: Path, server: Server) -> Iterator[Path]:
    """The server stands in `folder` as `<pid>.json` inside; files of servers that were killed are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("[!.]*.json"):
        if not _alive(file.stem):
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
    found = []
    for file in folder.glob("[!.]*.json"):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            server = Server(url=said["url"], pid=said["pid"], started=datetime.fromisoformat(said["started"]))
        except (OSError, ValueError, KeyError, TypeError):  # it ends at this moment, or is none of ours
            continue
        if _alive(str(server.pid)):
            found.append(server)
    return sorted(found, key=lambda server: server.started)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
