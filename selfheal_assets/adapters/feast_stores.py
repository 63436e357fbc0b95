"""Say where Feast keeps its registry and its online values: addresses in, Feast's configuration out. Opens nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from selfheal_assets.core.errors import SpecError
from selfheal_assets.secrecy import discreet

PATIENCE = {"socket_connect_timeout": "2", "socket_timeout": "5", "retry": "null"}
"""Seconds; and no tries of its own, which hold a caller for seconds: whoever asks knows how long it can wait."""


@dataclass(frozen=True, kw_only=True)
class FeastStores:
    """In place of what feature_store.yaml says; None leaves that as it stands."""

    registry_url: str | None = field(default=None, repr=False)
    online_url: str | None = field(default=None, repr=False)

    def applied(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """The content of feature_store.yaml with these addresses."""
        changed = dict(configuration)
        if self.registry_url is not None:
            known = configuration.get("registry")
            kept = {k: v for k, v in (known if isinstance(known, dict) else {}).items() if k != "read_path"}
            changed["registry"] = {
                **kept,
                "registry_type": "sql",
                "path": self.registry_url,
                "sqlalchemy_config_kwargs": {"echo": False, "pool_pre_ping": True},
            }
        if self.online_url is not None:
            changed["online_store"] = {"type": "redis", "connection_string": redis_words(self.online_url)}
        return changed

    def fingerprint(self) -> str:
        """Changes with the places, not with the passwords."""
        return sha256(f"{discreet(self.registry_url)}\0{discreet(self.online_url)}".encode()).hexdigest()


def redis_words(url: str) -> str:
    """Feast's own form of a Redis address, `host:port,name=value,...`, from `redis://user:password@host:port/db`."""
    parts = urlsplit(url)
    database = parts.path.strip("/") or "0"
    if not parts.hostname or not database.isdigit():
        raise SpecError(
            f"The online store's address must be redis://user:password@host:port/number; received {discreet(url)}. "
            "Correct SELFHEAL_ONLINE_STORE_URL."
        )
    words = {"db": database, **PATIENCE}
    if parts.scheme == "rediss":
        words["ssl"] = "true"
    if parts.username:
        words["username"] = _quoted(unquote(parts.username))
    if parts.password:
        words["password"] = _quoted(unquote(parts.password))
    words |= {name: _quoted(value) for name, value in parse_qsl(parts.query)}
    return ",".join([f"{parts.hostname}:{parts.port or 6379}", *(f"{name}={value}" for name, value in words.items())])


def _quoted(text: str) -> str:
    """Feast splits at commas and reads each value as JSON: `1e5` is a number to it, and must stay a password."""
    return json.dumps(text).replace(",", "\\u002c")
