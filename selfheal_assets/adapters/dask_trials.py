"""Evaluate a study's trials on a Dask cluster: an open study in, every trial told once out. Never opens a study.

The study stays in this process: it asks and tells, and a worker only evaluates (ADR 10). So a worker needs no storage,
and a trial whose worker dies is evaluated again by another without being counted again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.dask_cluster import DaskCluster
from selfheal_assets.adapters.tuning_objective import Objective
from selfheal_assets.core.errors import TrainingError

if TYPE_CHECKING:
    import optuna
    from distributed import Client, Future
    from optuna.trial import FrozenTrial

LOOK_SECONDS = 5.0
"""How often a driver that waits for a trial sees whether there are workers at all."""
_ONE_AT_A_TIME = threading.Lock()


@dataclass(kw_only=True)
class Asked:
    """A trial that was drawn, and all that its evaluation depends on."""

    trial: "optuna.Trial"
    earlier: "Sequence[FrozenTrial]"
    """The complete trials when it was drawn: what it is pruned by."""
    future: "Future[FrozenTrial]"


class DaskTrials:
    """The trials of one study, some at a time, in the order of their numbers."""

    def __init__(self, cluster: DaskCluster, client: "Client", study: "optuna.Study", objective: Objective) -> None:
        self._cluster, self._client, self._study, self._objective = cluster, client, study, objective
        self._placed = self._place()

    def run(self, trials: int, seconds: float, told: Callable[[], None]) -> None:
        """Draw and tell `trials` trials, none drawn after `seconds`; `told` hears of each.

        They are told in the order in which they were drawn, whichever is ready first: so the same seed gives the same
        study on any cluster. Raises TrainingError when the cluster cannot be used.
        """
        ends, drawn, waiting = time.monotonic() + seconds, 0, deque[Asked]()
        at_a_time = self._objective.spec.training.parallel_trials
        while True:
            while drawn < trials and len(waiting) < at_a_time and (time.monotonic() < ends or not drawn):
                waiting.append(self._ask())
                drawn += 1
            if not waiting:
                return
            first = waiting.popleft()
            _tell(self._study, first.trial, self._outcome(first))
            told()

    def _place(self) -> "Future[Objective]":
        """The rows, on every worker: when one dies the others have them."""
        placed: Future[Objective] = self._client.scatter(self._objective, broadcast=True, hash=False)
        return placed

    def _ask(self) -> Asked:
        from optuna.trial import TrialState

        earlier = self._study.get_trials(deepcopy=True, states=(TrialState.COMPLETE,))
        trial = self._study.ask(self._objective.distributions())
        return Asked(trial=trial, earlier=earlier, future=self._submit(trial.params, earlier))

    def _submit(self, parameters: dict[str, Any], earlier: "Sequence[FrozenTrial]") -> "Future[FrozenTrial]":
        study = self._study
        return self._client.submit(
            evaluated, self._placed, study.direction, study.pruner, earlier, parameters, pure=False
        )

    def _outcome(self, asked: Asked) -> "FrozenTrial | str":
        """The evaluated trial, or why it has no outcome. Waits; TrainingError when there is nobody to wait for."""
        from distributed import KilledWorker

        while True:
            try:
                found: FrozenTrial = asked.future.result(timeout=LOOK_SECONDS)
                return found
            except TimeoutError:
                self._cluster.require_workers(self._client)
            except KilledWorker as error:
                return f"{type(error).__name__}: the workers that evaluated it died, one after the other ({error})"
            except CancelledError:
                self._place_again(asked)
            except Exception as error:
                raise TrainingError(
                    f"A Dask worker must run the same selfheal as the run; one answered {type(error).__name__}: "
                    f"{error}. Start the workers from the same image, or the same lock."
                ) from error

    def _place_again(self, asked: Asked) -> None:
        """The last worker that had the rows is gone, and every task that needed them with it."""
        if self._client.status != "running":
            raise ConnectionError("the connection to the scheduler was closed")
        self._cluster.require_workers(self._client)
        if self._placed.status != "finished":
            self._placed = self._place()
        asked.future = self._submit(asked.trial.params, asked.earlier)


def evaluated(
    objective: Objective,
    direction: "optuna.study.StudyDirection",
    pruner: "optuna.pruners.BasePruner",
    earlier: "Sequence[FrozenTrial]",
    parameters: dict[str, Any],
) -> "FrozenTrial":
    """On a worker: the trial with these parameters, judged and pruned as it would be beside the `earlier` ones."""
    import optuna
    from distributed import get_worker

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(list(earlier))
    study.enqueue_trial(parameters)
    # XGBoost bins a matrix when it first trains on it, and the trials of a worker share theirs.
    with _ONE_AT_A_TIME:
        objective.threads = get_worker().state.nthreads
        study.optimize(objective, n_trials=1, catch=(Exception,))
    return study.get_trials(deepcopy=False)[-1]


def _tell(study: "optuna.Study", trial: "optuna.Trial", outcome: "FrozenTrial | str") -> None:
    from optuna.trial import TrialState

    if isinstance(outcome, str):
        trial.set_user_attr("reason", outcome)
        study.tell(trial, state=TrialState.FAIL)
        return
    for step, value in outcome.intermediate_values.items():
        trial.report(value, step)
    for name, value in outcome.user_attrs.items():
        trial.set_user_attr(name, value)
    complete = outcome.state is TrialState.COMPLETE
    study.tell(trial, outcome.value if complete else None, state=outcome.state)
