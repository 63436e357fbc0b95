"""Say who works here: the environment in, a name for the record out. Never guesses one."""

import getpass
import os

from selfheal_assets.core.errors import IncidentError

VARIABLE = "SELFHEAL_USER"


def present_person() -> str:
    """SELFHEAL_USER, else the login. Raises IncidentError where there is neither."""
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        return named
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        raise IncidentError(
            f"What a person decides is recorded under a name; received neither {VARIABLE} nor a login. "
            f"Set {VARIABLE} to your name."
        ) from error
