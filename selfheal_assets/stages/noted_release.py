"""Note where the servers run which version has the traffic: their own word in, the release there. Moves nothing."""

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.server_reading import ServingStatus
from selfheal_assets.ports import Release, Services
from selfheal_assets.stages.champion import CHAMPION

INFO = "selfheal_model_info"
"""The metric by which a server says which version stands under which alias."""


def note_release(selfheal: Services, spec: ModelSpec, status: ServingStatus) -> str:
    """Why it could not be noted; "" when it stands, or the servers do not agree yet. Asked at every look."""
    standing = champions(status)
    if len(standing) != 1:
        return ""
    (release,) = standing
    try:
        selfheal.serving.released(spec.name, release)
    except SelfhealError as error:
        return f"the release of version {release.version} is not noted: {error}"
    return ""


def champions(status: ServingStatus) -> set[Release]:
    """The releases that servers say they answer by; more than one while they change."""
    return {
        Release(version=one.labels["version"], run_id=one.labels["run_id"])
        for server in status.servers
        for one in server.samples or ()
        if one.name == INFO and one.value == 1.0 and one.labels.get("alias") == CHAMPION
    }
