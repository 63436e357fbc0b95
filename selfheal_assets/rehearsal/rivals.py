"""Make the rivals of a policy: fixed schedules and a count-matched random one. Never looks at any evidence."""

import re
from collections.abc import Sequence

import numpy as np

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.errors import SpecError
from selfheal_assets.rehearsal.player import Played, Schedule

NEVER, ALWAYS, RANDOM = "never", "always", "random"
DEFAULT = (NEVER, ALWAYS, "every-4", RANDOM)


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """The names, when each is a rival's; raises SpecError for the first that is not."""
    for name in names:
        if name not in (NEVER, ALWAYS, RANDOM) and _every(name) is None:
            raise SpecError(
                f"A rival must be never, always, random, or every-K with a whole K of 1 or more; received {name!r}."
            )
    return tuple(names)


def rivals(names: Sequence[str], policy: Played, batches: int, *, seed: int, draws: int) -> list[Schedule]:
    """Schedules for the same history. `random` retrains as often as the policy did, at places drawn `draws` times.

    Places are those after the first model was learned; a history without one has no rivals but `never`.
    """
    eligible = list(range(first_model_at(policy, batches) + 1, batches))
    found = list[Schedule]()
    for name in checked(names):
        if name == NEVER:
            found.append(Schedule(NEVER, frozenset()))
        elif name == ALWAYS:
            found.append(Schedule(ALWAYS, frozenset(eligible)))
        elif name == RANDOM:
            found += [_drawn(eligible, len(policy.retrains), seed, draw) for draw in range(draws)]
        else:
            k = _every(name) or 1
            found.append(Schedule(name, frozenset(eligible[k - 1 :: k])))
    return found


def first_model_at(played: Played, batches: int) -> int:
    """The batch after which the first model was promoted; the end where none was."""
    first = (h.at for h in played.heals if h.cause is Cause.NO_CHAMPION and h.outcome == "PROMOTED")
    return next(first, batches)


def _drawn(eligible: Sequence[int], count: int, seed: int, draw: int) -> Schedule:
    rng = np.random.default_rng([seed, draw])
    places = rng.permutation(np.asarray(eligible, dtype=np.int64))[:count]
    return Schedule(RANDOM, frozenset(places.tolist()))


def _every(name: str) -> int | None:
    found = re.fullmatch(r"every-([1-9]\d{0,5})", name)
    return int(found.group(1)) if found else None
