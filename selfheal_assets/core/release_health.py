"""Judge a release by its first minutes of requests: faults and business values in, a status out. Never acts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt

from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.served_counts import Business
from selfheal_assets.core.serving_health import Assessment

FEWEST_VALUES = 50
"""Business values of each version, below which nothing is said."""
DEVIATIONS = 3.1
"""The fall must be so many standard errors beyond chance: one in a thousand, as it is looked at every few seconds."""
FAULTS = (Signal.ERRORS, Signal.TIMEOUTS, Signal.LATENCY)


@dataclass(frozen=True, kw_only=True)
class Release:
    """The champion's promotion."""

    version: str
    at: datetime
    previous: str
    """The version that served before."""


def assess_release_fault(
    spec: ModelSpec,
    release: Release,
    faults: Sequence[Assessment],
    before: Collection[Signal],
    now: datetime,
    *,
    standing: bool,
) -> Assessment | None:
    """RAISED when requests began to fail, or to be late, within `rollout.bake_minutes` of the promotion.

    `before`: signals that were raised when it was promoted, which it is not to blame for; `standing`: whether this is
    raised already, and lasts as long as the fault does. None after the watch. Faults of a process are nobody's release.
    """
    watched = now - release.at <= timedelta(minutes=spec.rollout.bake_minutes)
    if not watched and not standing:
        return None
    found = [one for one in faults if one.signal in FAULTS]
    blamed = [one for one in found if one.by_requests and one.status is Status.RAISED and one.signal not in before]
    if blamed:
        status = Status.RAISED
        began = "; ".join(one.reason for one in blamed)
        reason = f"version {release.version} was promoted at {release.at:%Y-%m-%d %H:%M:%S} UTC, and since: {began}"
    else:
        status = Status.CLEAR if all(one.status is Status.CLEAR for one in found) else Status.UNKNOWN
        reason = f"requests are answered well since version {release.version}" if status is Status.CLEAR else "no data"
    first = blamed[0] if blamed else None
    return Assessment(
        signal=Signal.RELEASE_FAULT,
        status=status,
        value=first.value if first else None,
        threshold=first.threshold if first else None,
        sample_size=first.sample_size if first else 0,
        reason=reason,
        details={"previous_version": release.previous},
    )


def assess_business(
    spec: ModelSpec, release: Release, values: Mapping[str, Business], now: datetime
) -> Assessment | None:
    """RAISED when the mean of the posted values fell by `serving.max_business_drop`, beyond chance (z test).

    None after `serving.business_minutes`, and while no values are posted; UNKNOWN with fewer than `FEWEST_VALUES` of
    either version.
    """
    serving = spec.serving
    new, old = values.get(release.version, Business()), values.get(release.previous, Business())
    if now - release.at > timedelta(minutes=serving.business_minutes) or not (new.values or old.values):
        return None
    drop, status = None, Status.UNKNOWN
    reason = f"{new.values:.0f} and {old.values:.0f} business values, of either version {FEWEST_VALUES} are needed"
    if min(new.values, old.values) >= FEWEST_VALUES and old.total > 0:
        after, before = new.total / new.values, old.total / old.values
        drop = (before - after) / before
        error = sqrt(_variance(new) / new.values + _variance(old) / old.values)
        fell = drop > serving.max_business_drop and before - after > DEVIATIONS * error
        status = Status.RAISED if fell else Status.CLEAR
        reason = (
            f"the business metric of version {release.version} is {after:.4f} ({new.values:.0f} values), that of "
            f"version {release.previous} was {before:.4f} ({old.values:.0f})"
        )
    return Assessment(
        signal=Signal.BUSINESS,
        status=status,
        value=drop,
        threshold=serving.max_business_drop,
        sample_size=int(new.values),
        reason=reason,
        details={"previous_version": release.previous},
    )


def _variance(of: Business) -> float:
    mean = of.total / of.values
    return max(0.0, of.squares / of.values - mean * mean)
