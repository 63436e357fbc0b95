"""Keep the files of a home in an object store: whole files in, local copies of the newest out. Never trusts a copy."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import md5
from pathlib import Path

from selfheal_assets import durable
from selfheal_assets.adapters.home_files import HomeFiles
from selfheal_assets.adapters.object_bucket import Bucket, Stored
from selfheal_assets.adapters.object_copies import Copies
from selfheal_assets.core.errors import BatchError
from selfheal_assets.ports import LandedFile

LANDING, FETCHED = "landing", "landed"
"""Local senders use the folder `landing`, which is relayed to the store; what is in the store is copied to `landed`."""


class ObjectFiles(HomeFiles):
    """The key of an object is the path of the file in the home. The store is right; the home holds copies to read.

    Putting an object in place is atomic, as a rename is. Each look at a file asks the store for its tag, and copies it
    only when it is another one: processes on several machines see each other's files.
    """

    def __init__(self, home: Path, bucket: Bucket) -> None:
        self._home = home.absolute()
        self._bucket = bucket
        self._copies = Copies(self._home)

    @contextmanager
    def replaced(self, target: Path) -> Iterator[Path]:
        # In the store before it is in the home: a copy that others may read is never ahead of the store.
        with durable.replaced(target) as draft:
            yield draft
            self._bucket.upload(draft, self._key(target))
            tag = _tag_of(draft)
        self._copies.note(target, tag)

    def present(self, path: Path) -> bool:
        stored = self._bucket.stored(self._key(path))
        return self._copied(path, stored)

    def listing(self, folder: Path, *, only: Iterable[Path] | None = None) -> list[Path]:
        wanted = None if only is None else set(only)
        found = []
        for stored in self._bucket.listed(self._key(folder)):
            path = folder / stored.key.rsplit("/", 1)[1]
            hidden = path.name.startswith(".")
            if not hidden and (wanted is None or path in wanted) and self._copied(path, stored):
                found.append(path)
        return sorted(found)

    def landed(self, folder: Path) -> list[LandedFile]:
        self.relay(folder)
        place = self._home / FETCHED / folder.relative_to(self._home / LANDING)
        names = [(stored, stored.key.rsplit("/", 1)[1]) for stored in self._bucket.listed(self._key(folder))]
        return [
            LandedFile(path=place / name, size_bytes=stored.size_bytes, landed_at=stored.changed_at)
            for stored, name in names
            if not name.startswith(".") and not name.endswith(".tmp")
        ]

    def relay(self, folder: Path) -> None:
        for file in super().landed(folder):
            with suppress(FileNotFoundError):  # Relayed by another process just now.
                key = self._key(file.path)
                if not self._bucket.upload(file.path, key, only_new=True):
                    stored = self._bucket.stored(key)
                    # Relayed by a process that was killed right after; else it waits until its name is free again.
                    if stored is None or stored.tag != _tag_of(file.path):
                        continue
                file.path.unlink()

    def move(self, source: Path, target: Path) -> None:
        stored = self._bucket.stored(self._key(source))
        if stored is None:
            raise FileNotFoundError(source)
        self._bucket.copy(stored, self._key(target))
        self._bucket.remove_if(stored)
        self._copies.forget(self._local(source))

    def move_folder(self, source: Path, target: Path) -> None:
        begin, end = self._key(source), self._key(target)
        keys = self._bucket.below(begin)
        for stored in (self._bucket.stored(key) for key in keys):
            if stored is not None:
                self._bucket.copy(stored, end + stored.key.removeprefix(begin))
        for key in keys:
            self._bucket.remove(key)
            self._copies.forget(self._home / key)

    def folders(self, folder: Path, begins: str) -> int:
        return sum(name.startswith(begins) for name in self._bucket.folders(self._key(folder)))

    def put_back(self, source: Path, target: Path) -> bool:
        if self._bucket.upload(source, self._key(target), only_new=True):
            return True
        stored = self._bucket.stored(self._key(target))
        return stored is not None and stored.tag == _tag_of(source)

    def remove(self, path: Path) -> None:
        self._bucket.remove(self._key(path))
        self._copies.forget(path)

    def _copied(self, path: Path, stored: Stored | None) -> bool:
        if stored is None:
            self._copies.forget(path)
            return False
        if self._copies.is_copy(path, stored.tag):
            return True
        try:
            with durable.replaced(path) as draft:
                self._bucket.download(stored.key, draft)
        except FileNotFoundError:  # Taken away between the two questions.
            self._copies.forget(path)
            return False
        self._copies.note(path, stored.tag)
        return True

    def _key(self, path: Path) -> str:
        try:
            parts = path.absolute().relative_to(self._home).parts
        except ValueError as error:
            raise BatchError(
                f"A file that is kept in the object store must be of the home {self._home}; received {path}. "
                "Correct the caller."
            ) from error
        return "/".join((LANDING, *parts[1:]) if parts[:1] == (FETCHED,) else parts)

    def _local(self, path: Path) -> Path:
        """Where the copy of a landed file stands: not where local senders put theirs."""
        parts = path.relative_to(self._home).parts
        landing = parts[:1] == (LANDING,) and not any(part.startswith(".") for part in parts)
        return self._home.joinpath(FETCHED, *parts[1:]) if landing else path


def _tag_of(file: Path) -> str:
    """The tag of an object that was put in place in one part, without a key of its own; else no object has it."""
    with file.open("rb") as stream:
        digest = md5(usedforsecurity=False)
        while block := stream.read(1 << 20):
            digest.update(block)
    return f'"{digest.hexdigest()}"'
