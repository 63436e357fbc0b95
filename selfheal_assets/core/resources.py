"""Say what a training's pod is given: declared quantities and failures in, requests and limits out. Asks no cluster."""

import re
from collections.abc import Mapping
from typing import Any

from selfheal_assets.core.errors import SpecError

Resources = Mapping[str, float | str]
CPU, MEMORY, MAX_MEMORY = "cpu", "memory", "max_memory"
KNOWN = (CPU, MEMORY, MAX_MEMORY)
GROWTH = 2
"""Times as much memory after every run that ran out of it."""
UNDECLARED_GROWTH = 4
"""How many times `memory` is the most of it, where `max_memory` is not declared."""
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[EPTGMk]|[EPTGMK]i)?")
_POWERS = {name: 1000.0**power for power, name in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_POWERS |= {f"{name}i": 1024.0**power for power, name in enumerate(("K", "M", "G", "T", "P", "E"), start=1)}
_POWERS["m"] = 1e-3


def amount(quantity: object) -> float | None:
    """A Kubernetes quantity (`4Gi`, `1500M`, `500m`, 2) as a number; None for what is none.

    The notation: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity, without exponents.
    """
    found = _QUANTITY.fullmatch(str(quantity)) if isinstance(quantity, str | int | float) else None
    return float(found[1]) * _POWERS[found[2] or ""] if found else None


def enlarged(quantity: object, factor: float) -> str | None:
    """The quantity so many times as large, in the same unit; None for what is none."""
    found = _QUANTITY.fullmatch(quantity) if isinstance(quantity, str) else None
    return f"{float(found[1]) * factor:.12g}{found[2] or ''}" if found else None


def require_resources(resources: Resources) -> None:
    """Raises SpecError for a name that nothing reads, a value that is no quantity, and less room than is begun with."""
    strange = sorted(set(resources) - set(KNOWN))
    if strange:
        raise SpecError(f"training.resources may have {', '.join(KNOWN)}; received {strange}. Remove or rename them.")
    wrong = {name: value for name, value in resources.items() if not amount(value)}
    if wrong:
        raise SpecError(
            f"training.resources must be Kubernetes quantities above 0 (2, 500m, 4Gi); received {wrong}. Correct them."
        )
    if MAX_MEMORY in resources and MEMORY not in resources:
        raise SpecError("training.resources.max_memory needs training.resources.memory; received none. Declare it.")
    begun, most = amount(resources.get(MEMORY)), amount(resources.get(MAX_MEMORY))
    if begun is not None and most is not None and most < begun:
        raise SpecError(
            f"training.resources.max_memory must be at least training.resources.memory, {resources[MEMORY]}; "
            f"received {resources[MAX_MEMORY]}. Raise it."
        )


def memory_after(resources: Resources, times: int) -> str | None:
    """The memory after so many runs that ran out of it; None where none is declared."""
    memory = resources.get(MEMORY)
    if memory is None:
        return None
    most = amount(resources.get(MAX_MEMORY)) or UNDECLARED_GROWTH * (amount(memory) or 0.0)
    grown = enlarged(str(memory), GROWTH**times)
    return grown if grown and (amount(grown) or 0.0) <= most else str(_most(resources))


def can_grow(resources: Resources, times: int) -> bool:
    """Whether the run after so many failures would have more memory than the one before."""
    return times > 0 and memory_after(resources, times) != memory_after(resources, times - 1)


def pod_resources(resources: Resources, times: int = 0) -> dict[str, dict[str, Any]]:
    """Requests and limits of the container. As much memory is requested as may be used: what was promised is there.

    The processors are requested and not limited: what nobody else needs shortens the training.
    """
    asked = {
        name: value for name, value in ((CPU, _text(resources)), (MEMORY, memory_after(resources, times))) if value
    }
    limits = {name: value for name, value in asked.items() if name == MEMORY}
    return {"requests": asked, **({"limits": limits} if limits else {})} if asked else {}


def _most(resources: Resources) -> object:
    return resources.get(MAX_MEMORY) or enlarged(str(resources[MEMORY]), UNDECLARED_GROWTH)


def _text(resources: Resources) -> str | None:
    return f"{resources[CPU]}" if CPU in resources else None
