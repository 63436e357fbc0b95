"""Declare many models in an overlay: copies of the payments model under names of their own. Never measures."""

import re
from pathlib import Path

from selfheal_assets.project import MODELS, PROJECT

EXAMPLE = "payments"
_SERVICE = """

{name}_v1 = FeatureService(name="{name}_v1", features=[{name}_history, {name}_amounts])
"""


def names(models: int) -> list[str]:
    """So many model names, in order."""
    return [f"fleet_{place:04d}" for place in range(1, models + 1)]


def write_fleet(root: Path, models: int) -> Path:
    """A declaration root with so many models: each has Feast objects, checks and a transform of its own."""
    for name in names(models):
        for place, text in _files(name).items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text(text, encoding="utf-8")
    return root


def _files(name: str) -> dict[str, str]:
    """By their place below the root. Feature names stay: they are columns of the model's own view."""
    view = _read(f"feature_repo/views/{EXAMPLE}.py")
    view = view.replace("from feast import FeatureView,", "from feast import FeatureService, FeatureView,")
    view = re.sub(r"\bpayments_history\b", f"{name}_history", view)
    view = re.sub(r"\bpayment_(request|amounts)\b", rf"{name}_\1", view)
    view = view.replace(f'history_source("{EXAMPLE}")', f'history_source("{name}")')
    declared = _read(f"{MODELS}/{EXAMPLE}/defs.yaml").replace(f"name: {EXAMPLE}\n", f"name: {name}\n")
    checks = _read(f"dbt_like_checks/{EXAMPLE}.yml").replace(f"- name: {EXAMPLE}\n", f"- name: {name}\n")
    return {
        f"models/{name}/defs.yaml": declared.replace(f"{EXAMPLE}_v1", f"{name}_v1"),
        f"feature_repo/views/{name}.py": view + _SERVICE.format(name=name),
        f"feature_repo/transforms/{name}.sql": _read(f"feature_repo/transforms/{EXAMPLE}.sql"),
        f"dbt_like_checks/{name}.yml": checks.replace(f"ref('{EXAMPLE}')", f"ref('{name}')"),
    }


def _read(place: str) -> str:
    return (PROJECT / place).read_text(encoding="utf-8")
