"""Keep files where the home is: whole files in, the same files out, on this machine. Never shows half a file."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path

from selfheal_assets.durable import move, replaced
from selfheal_assets.ports import LandedFile


class HomeFiles:
    """The files of a home, by their paths; an object store takes its place in `object_files.py`.

    A file is read at its path once `present` or `listing` said that it is there.
    """

    def replaced(self, target: Path) -> AbstractContextManager[Path]:
        """Yields a path to write to; on success its content is kept as `target`, whole and for good."""
        return replaced(target)

    def present(self, path: Path) -> bool:
        """Whether there is such a file; if so, its newest content stands at the path."""
        return path.exists()

    def listing(self, folder: Path, *, only: Iterable[Path] | None = None) -> list[Path]:
        """The files in place right in the folder, by name, each with its newest content; `only` these, if given."""
        wanted = None if only is None else set(only)
        return sorted(path for path in folder.glob("[!.]*") if path.is_file() and (wanted is None or path in wanted))

    def landed(self, folder: Path) -> list[LandedFile]:
        """Files that others put right into the folder. Hidden and `.tmp` names are still being written; links are not
        followed. Their content stands at their paths once `present` said so."""
        if not folder.is_dir():
            return []
        found = []
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.name.startswith(".") or entry.name.endswith(".tmp") or not entry.is_file(follow_symlinks=False):
                continue
            # Its sender, or an ingest, may take it away while we look.
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                landed_at = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(LandedFile(path=Path(entry.path), size_bytes=status.st_size, landed_at=landed_at))
        return found

    def move(self, source: Path, target: Path) -> None:
        """FileNotFoundError when the source is not there."""
        move(source, target)

    def move_folder(self, source: Path, target: Path) -> None:
        """All files of the folder, whose subfolders count."""
        move(source, target)

    def folders(self, folder: Path, begins: str) -> int:
        """How many folders in the folder have a name that begins so."""
        return sum(path.name.startswith(begins) for path in folder.glob("*"))

    def put_back(self, source: Path, target: Path) -> bool:
        """Let the content of the source stand at the target too; False when something else stands there."""
        if target.exists() and target.samefile(source):  # put back by a process that was killed right after
            return True
        with suppress(FileExistsError):
            os.link(source, target)
            return True
        return False

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def relay(self, folder: Path) -> None:
        """Send what was landed on this machine to where the others look for it."""
