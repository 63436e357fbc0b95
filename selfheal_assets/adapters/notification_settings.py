"""Read how much people are told, and how much of it is kept: the environment in, limits out. Never stops healing."""

import logging
import math
from collections.abc import Mapping

from selfheal_assets.adapters.notification_outbox import Kept
from selfheal_assets.core.notification_limits import Limits

log = logging.getLogger("selfheal.notifications")

PREFIX = "SELFHEAL_NOTIFY_"
MEGABYTE = 1_000_000


def limits_from(environment: Mapping[str, str]) -> Limits:
    """What is not declared, or is no number, has its default; the latter is said in the log."""
    usual = Limits()
    return Limits(
        dedupe_minutes=_number(environment, "DEDUPE_MINUTES", usual.dedupe_minutes),
        per_hour=int(_number(environment, "PER_HOUR", usual.per_hour, whole=True)),
        failures_per_hour=int(_number(environment, "FAILURES_PER_HOUR", usual.failures_per_hour, least=1, whole=True)),
        stale_hours=_number(environment, "STALE_HOURS", usual.stale_hours),
    )


def kept_from(environment: Mapping[str, str]) -> Kept:
    usual = Kept()
    megabytes = _number(environment, "OUTBOX_MB", usual.most_bytes / MEGABYTE, least=0.001)
    files = _number(environment, "OUTBOX_FILES", usual.files, least=1, whole=True)
    return Kept(most_bytes=int(megabytes * MEGABYTE), files=int(files))


def _number(
    environment: Mapping[str, str], name: str, usual: float, *, least: float = 0.0, whole: bool = False
) -> float:
    """A slip in a limit must silence nobody, so that it is no error."""
    said = environment.get(f"{PREFIX}{name}", "").strip()
    if not said:
        return usual
    try:
        value = float(said)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= least and (value == int(value) or not whole):
        return value
    kind = "a whole number" if whole else "a number"
    log.error(
        "%s%s must be %s of at least %g; received %r. %g is used; correct it.", PREFIX, name, kind, least, said, usual
    )
    return usual
