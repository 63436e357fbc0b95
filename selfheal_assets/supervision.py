"""What the supervisor of servers and whoever asks it say to each other, in files of the home. Never starts a process.

Beside the model's servers stand `supervisor.json`, which the supervisor writes, `restart-<decision>.json`, which asks
it, and `restarted-<decision>.json`, which is its answer. Each file is put in place whole.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from selfheal_assets.core.errors import ServingError
from selfheal_assets.core.server_reading import Death
from selfheal_assets.durable import replaced
from selfheal_assets.server_files import is_alive, model_root

STATE = "supervisor.json"
ASKED, ANSWERED = "restart-", "restarted-"
DEATHS_KEPT = 10


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """A model whose server is kept running."""

    pid: int
    """Of the supervisor."""
    since: datetime
    child: int | None = None
    """The server's process; None while it waits to start it again."""
    deaths: tuple[Death, ...] = ()
    """The last ones, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A decision to restart."""

    decision_id: str
    pids: tuple[int, ...]
    """The processes at fault; none: whichever runs."""


def tell(home: Path, model: str, supervision: Supervision) -> None:
    """Write down how it stands."""
    _write(model_root(home, model) / STATE, asdict(supervision))


def told(home: Path, model: str) -> Supervision | None:
    """How it stands; None where no supervisor lives that keeps a server of the model."""
    said = _read(model_root(home, model) / STATE)
    try:
        deaths = [Death(**{**d, "at": datetime.fromisoformat(d["at"])}) for d in said.pop("deaths")]
        found = Supervision(**{**said, "since": datetime.fromisoformat(said["since"]), "deaths": tuple(deaths)})
    except (KeyError, TypeError, ValueError):
        return None
    return found if is_alive(found.pid) else None


def ask(home: Path, model: str, request: Request) -> None:
    """Ask for a restart, unless it was answered. Twice changes nothing."""
    if answer_to(home, model, request.decision_id) is None:
        _write(model_root(home, model) / f"{ASKED}{request.decision_id}.json", {"pids": list(request.pids)})


def requests(home: Path, model: str) -> list[Request]:
    """What waits to be carried out; what cannot be read is not."""
    found = []
    for file in sorted(model_root(home, model).glob(f"{ASKED}*.json")):
        pids = _read(file).get("pids")
        if isinstance(pids, list) and all(isinstance(pid, int) for pid in pids):
            found.append(Request(decision_id=file.stem.removeprefix(ASKED), pids=tuple(pids)))
    return found


def answer(home: Path, model: str, decision_id: str, words: str) -> None:
    """Say what was done. The request goes when the answer stands: killed in between, it is answered once more."""
    root = model_root(home, model)
    _write(root / f"{ANSWERED}{decision_id}.json", {"words": words})
    (root / f"{ASKED}{decision_id}.json").unlink(missing_ok=True)


def answer_to(home: Path, model: str, decision_id: str) -> str | None:
    """What was done for the decision; None while nothing was."""
    said = _read(model_root(home, model) / f"{ANSWERED}{decision_id}.json").get("words")
    return str(said) if said is not None else None


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _write(file: Path, document: dict[str, Any]) -> None:
    try:
        with replaced(file) as draft:
            draft.write_text(json.dumps(document, default=datetime.isoformat), encoding="utf-8")
    except OSError as error:
        raise ServingError(
            f"The home must take {file.name}; received {error}. Make room, or mend its rights."
        ) from error


def cut(deaths: Sequence[Death]) -> tuple[Death, ...]:
    """The last ones."""
    return tuple(deaths[-DEATHS_KEPT:])
