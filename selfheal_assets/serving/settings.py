"""Read what a server is told by its command line and environment: text in, checked settings out. Starts nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.errors import ServingError, SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.project import model_files
from selfheal_assets.server_files import model_root, servers_folder

MODEL = "SELFHEAL_SERVING_MODEL"
"""Which model a worker process serves: set by the process that starts it."""
METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own name: the folder in which worker processes share their metrics."""
TOKEN, TOKEN_FILE = "SELFHEAL_SERVING_TOKEN", "SELFHEAL_SERVING_TOKEN_FILE"


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a server of a model keeps what is its own."""

    home: Path
    model: str

    @property
    def root(self) -> Path:
        return model_root(self.home, self.model)

    @property
    def servers(self) -> Path:
        """One file a running server."""
        return servers_folder(self.home, self.model)

    @property
    def metrics(self) -> Path:
        """What worker processes share."""
        return self.root / "metrics"


def admin_token(environment: Mapping[str, str] = os.environ) -> str | None:
    """What admin calls must carry: SELFHEAL_SERVING_TOKEN, or the content of the file SELFHEAL_SERVING_TOKEN_FILE."""
    token = environment.get(TOKEN, "").strip()
    file = environment.get(TOKEN_FILE, "").strip()
    if token or not file:
        return token or None
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"{TOKEN_FILE} must be a readable file; received {file!r}: {error}. Correct it.") from error
    if not token:
        raise ServingError(f"{TOKEN_FILE} must hold a token; received {file!r}, which is empty. Fill or unset it.")
    return token


def served_spec(name: str, roots: tuple[Path, ...]) -> ModelSpec:
    """The declared model of that name. Raises SpecError when it is not declared, or wrongly."""
    files = model_files(roots)
    named = [path for path in files if path.parent.name == name]
    for path in [*named, *(path for path in files if path not in named)]:
        spec = load_spec(path)
        if spec.name == name:
            return spec
    known = ", ".join(sorted({load_spec(path).name for path in files})) or "none"
    raise SpecError(f"A model must be declared before it is served; received {name!r}. Declared are: {known}.")
