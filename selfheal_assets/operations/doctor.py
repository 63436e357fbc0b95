"""Check every configured service: the environment in, what is wrong and how to mend it out. Mends nothing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.secrecy import discreet
from selfheal_assets.settings import FILE_SUFFIX, PREFIX, Settings, settings_from_environment, variable
from selfheal_assets.wiring import service_list

OTHERS = ("NOTIFY", "SERVING", "OVERLAYS", "USER", "BENCHMARK")
"""Beginnings of variables that are not of the settings: docs/notifications.md, docs/serving.md and the tests' own."""
KUBERNETES = ("SERVICE_ACCOUNT", "NAMESPACE", "IMAGE", "INSTANCE_CONFIG_MAP", "POSTGRES_SECRET")
"""Of deployment/dagster/production.yaml."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One line of the doctor's report."""

    name: str
    where: str
    detail: str
    remedy: str = ""
    """Empty when nothing is wrong."""

    @property
    def is_well(self) -> bool:
        return not self.remedy


def examine() -> Iterator[Checked]:
    """One result after another, as they come. A service that fails in an unforeseen way is a result too."""
    try:
        settings = settings_from_environment()
    except SelfhealError as error:
        yield Checked(name="settings", where="environment", detail=str(error), remedy="See docs/configuration.md.")
        return
    yield _settings(settings)
    for service in service_list(settings):
        try:
            found = service.look()
        except Exception as error:  # Whatever a driver raises: the other services are looked at all the same.
            told = " ".join(discreet(error).split())
            detail = f"{type(error).__name__}: {told:.300}"
            yield Checked(name=service.name, where=service.where, detail=detail, remedy="See that it runs here.")
            continue
        yield Checked(name=service.name, where=service.where, detail=found.detail, remedy=found.remedy)


def runs_where(settings: Settings) -> dict[str, str]:
    """What would run where."""
    in_pods = settings.executor == "k8s_job"
    return {
        "runs": "as Dagster's instance file says (run_launcher)" if in_pods else "as processes of this machine",
        "steps of a run": "each as a Kubernetes job" if in_pods else "in the process of their run",
        "model servers": "restarted and scaled by Kubernetes"
        if settings.serving == "kubernetes"
        else "on this machine",
        "tuning and training": "in threads of their run",
        "turns of processes": (
            "kept by the ledger's database, over machines"
            if settings.ledger_url is not None and "postgresql" in settings.ledger_url.get_secret_value()
            else "kept by files of the home: one machine"
        ),
    }


def _settings(settings: Settings) -> Checked:
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and not _is_known(name))
    if unknown:
        return Checked(
            name="settings",
            where=f"{variable('env')}={settings.env}",
            detail=f"nothing reads {', '.join(unknown)}",
            remedy="Correct the name, or unset it: docs/configuration.md has every name.",
        )
    named = [variable(name) for name in sorted(settings.model_fields_set)]
    return Checked(
        name="settings", where=f"{variable('env')}={settings.env}", detail=", ".join(named) or "all are defaults"
    )


def _is_known(name: str) -> bool:
    known = {variable(field) for field in Settings.model_fields}
    own = name.removeprefix(PREFIX)
    return name in known or name.removesuffix(FILE_SUFFIX) in known or own.startswith(OTHERS) or own in KUBERNETES
