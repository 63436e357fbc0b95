"""Remember which local file is a copy of which object: a path and an object's tag in, yes or no out. Never guesses."""

import json
from contextlib import suppress
from pathlib import Path

from selfheal_assets.durable import replaced

COPIES = ".copies"


class Copies:
    """One small file a copy, beside the home's other folders: whose tag it has, and which bytes of the disk it is."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def is_copy(self, path: Path, tag: str) -> bool:
        """Whether the path holds the object's content as of that tag. False for a file that anyone has written to."""
        return self._noted(path) == [tag, *_identity(path)]

    def note(self, path: Path, tag: str) -> None:
        """The path holds the object's content."""
        with replaced(self._note(path)) as draft:
            draft.write_text(json.dumps([tag, *_identity(path)]), encoding="utf-8")

    def forget(self, path: Path) -> None:
        """Remove a copy. A file that is none, such as one from before there was an object store, stays."""
        noted = self._noted(path)
        if noted and noted[1:] == _identity(path):
            path.unlink(missing_ok=True)
        self._note(path).unlink(missing_ok=True)

    def _note(self, path: Path) -> Path:
        return self._home / COPIES / path.relative_to(self._home).with_name(f"{path.name}.json")

    def _noted(self, path: Path) -> list[object] | None:
        with suppress(OSError, ValueError):
            return list(json.loads(self._note(path).read_text(encoding="utf-8")))
        return None


def _identity(path: Path) -> list[int]:
    """Another file, or another content, has another one. Empty without a file."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_ino, status.st_mtime_ns, status.st_size]
