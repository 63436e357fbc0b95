"""Speak to an S3-compatible bucket through universal_pathlib and s3fs: keys in, objects out. Never decides anything."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from selfheal_assets.core.errors import ServiceError
from selfheal_assets.secrecy import discreet

PATIENCE = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 3, "mode": "standard"}}
"""Seconds, and how often an answer that may be better next time is asked for again."""
CONFLICT = ("PreconditionFailed", "ConditionalRequestConflict")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One object. `tag` is its ETag: another content has another one."""

    key: str
    tag: str
    size_bytes: int
    changed_at: datetime


class Bucket:
    """Objects under a root `s3://bucket/path`; keys are relative to it."""

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        """`options`: key, secret, endpoint_url and client_kwargs, as s3fs takes them."""
        self.root = root.rstrip("/")
        self._options = dict(options)

    @cached_property
    def _place(self) -> Any:
        from upath import UPath

        # Listings that are remembered would hide what others have put or removed.
        return UPath(self.root, use_listings_cache=False, config_kwargs=PATIENCE, **self._options)

    def stored(self, key: str) -> Stored | None:
        """The object, or None when there is none."""
        with self._translated(key):
            try:
                return self._described(self._place.fs.info(self._full(key), refresh=True))
            except FileNotFoundError:
                return None

    def listed(self, prefix: str) -> list[Stored]:
        """The objects right below the prefix, by key."""
        with self._translated(prefix):
            found = self._entries(prefix)
        return sorted(
            (self._described(entry) for entry in found if entry["type"] == "file" and not entry["name"].endswith("/")),
            key=lambda stored: stored.key,
        )

    def folders(self, prefix: str) -> list[str]:
        """The last parts of the prefixes right below the prefix."""
        with self._translated(prefix):
            found = self._entries(prefix)
        return [entry["name"].rstrip("/").rsplit("/", 1)[1] for entry in found if entry["type"] == "directory"]

    def below(self, prefix: str) -> list[str]:
        """The keys of all objects below the prefix."""
        with self._translated(prefix), suppress(FileNotFoundError):
            return sorted(self._key(name) for name in self._place.fs.find(self._full(prefix), refresh=True))
        return []

    def download(self, key: str, target: Path) -> None:
        """FileNotFoundError when there is no such object."""
        with self._translated(key):
            self._place.fs.get_file(self._full(key), str(target))

    def upload(self, source: Path, key: str, *, only_new: bool = False) -> bool:
        """Put the file in place, whole. With `only_new`, False when there is such an object, which stays."""
        with self._translated(key):
            try:
                self._place.fs.put_file(str(source), self._full(key), mode="create" if only_new else "overwrite")
            except FileExistsError:
                return False
            except OSError as error:
                if only_new and _is_conflict(error):
                    return False
                raise
        return True

    def copy(self, source: Stored, target: str) -> None:
        """FileNotFoundError when the source is gone, or is another one by now."""
        with self._translated(source.key):
            try:
                self._place.fs.cp_file(self._full(source.key), self._full(target), CopySourceIfMatch=source.tag)
            except OSError as error:
                if _is_conflict(error):
                    raise FileNotFoundError(source.key) from error
                raise

    def remove(self, key: str) -> None:
        """Already gone is fine."""
        with self._translated(key), suppress(FileNotFoundError):
            self._place.fs.rm_file(self._full(key))

    def remove_if(self, stored: Stored) -> bool:
        """Remove the object unless it is another one by now; whether it was removed.

        The comparison is the store's own where it knows conditional deletes. Where it does not, an object that is put
        in place within the same instant is removed with it: keep the bucket versioned there.
        """
        now = self.stored(stored.key)
        if now is None or now.tag != stored.tag:
            return False
        bucket, key, _ = self._place.fs.split_path(self._full(stored.key))
        with self._translated(stored.key):
            try:
                self._place.fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=stored.tag)
            except OSError as error:
                if _is_conflict(error):
                    return False
                raise
        return True

    def _entries(self, prefix: str) -> list[dict[str, Any]]:
        try:
            return list(self._place.fs.ls(self._full(prefix), detail=True, refresh=True))
        except FileNotFoundError:
            return []

    def _described(self, entry: Mapping[str, Any]) -> Stored:
        return Stored(
            key=self._key(entry["name"]),
            tag=str(entry["ETag"]),
            size_bytes=int(entry["size"]),
            changed_at=entry["LastModified"],
        )

    def _full(self, key: str) -> str:
        return f"{self._place.path.rstrip('/')}/{key}"

    def _key(self, full: str) -> str:
        return full.removeprefix(f"{self._place.path.rstrip('/')}/")

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """What boto and the network raise becomes a ServiceError."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            if not isinstance(error, (OSError, *_foreign())):
                raise
            raise ServiceError(
                f"The object store must take and give files; received from {self.root}, for {key!r}, "
                f"{type(error).__name__}: {discreet(error):.300}. Run `selfheal doctor`."
            ) from error


def _foreign() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _is_conflict(error: BaseException) -> bool:
    cause = error.__cause__
    code = getattr(cause, "response", {}).get("Error", {}).get("Code") if cause is not None else None
    return code in CONFLICT or any(word in str(error) for word in (*CONFLICT, "pre-conditions"))
