"""Forget, in a test, which home the environment names. Imports nothing of the project, so that conftest may use it."""

import pytest

SETTINGS = ("SELFHEAL_HOME", "DAGSTER_HOME", "SELFHEAL_OVERLAYS", "MLFLOW_TRACKING_URI")


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Unset what chooses a home; what a test sets of it afterwards is put back, too."""
    for name in SETTINGS:
        patch.setenv(name, "")
        patch.delenv(name)
