"""Tune XGBoost's parameters and its training window: labelled rows in, the best trial out. Never sees the holdout."""

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.dask_cluster import DaskCluster
from selfheal_assets.adapters.tuning_objective import REPORT_EVERY_ROUNDS, Objective, clipped
from selfheal_assets.adapters.turns import Alone, in_turn
from selfheal_assets.core.errors import BusyError, TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import LabelledRows, TunedParameters
from selfheal_assets.secrecy import discreet

if TYPE_CHECKING:
    import optuna

KILLED = "it ended without a score: the process was killed"
_LOG = logging.getLogger(__name__)


class OptunaTuner:
    """A seeded, pruned, bounded study that survives a kill. Implements `ports.Tuner`."""

    def __init__(
        self,
        home: Path,
        progress: Callable[[int, int, float], None] | None = None,
        *,
        cluster: DaskCluster | None = None,
        database: str | None = None,
        alone: Alone | None = None,
    ) -> None:
        """`progress` hears (trials finished, trials allowed, best score so far; NaN before the first). `cluster`
        evaluates the trials of models with `training.engine: dask`; without one all are evaluated here.

        `database`: where studies are kept instead of in a journal a model. `alone`: keeps processes apart instead of
        a file.
        """
        self._folder = Path(home) / "optuna"
        self._database = database
        self._alone = alone or in_turn(self._folder)
        self._progress = progress
        self._cluster = cluster

    def tune(
        self, spec: ModelSpec, study: str, rows: LabelledRows, warm_start: Mapping[str, Any] | None
    ) -> TunedParameters:
        """The best of at most `training.trials` trials, counted over every resumption of the study.

        Raises TrainingError for rows that cannot be learned from, and when no trial succeeded.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        objective = Objective(spec, rows)
        try:
            # A second process would take this one's running trial for the remains of a dead one.
            with self._alone(f"{spec.name}.tuning", spec.training.timeout_seconds):
                opened = self._open(spec, study, objective.fingerprint())
                _fail_orphans(opened)
                if warm_start:
                    opened.enqueue_trial(clipped(warm_start, objective.windows), skip_if_exists=True)
                self._optimize(opened, spec, objective)
        except BusyError as error:
            raise TrainingError(
                f"one process at a time tunes a model; received a second for {spec.name!r}. Wait for the first to end."
            ) from error
        return _result(opened, objective)

    def _open(self, spec: ModelSpec, name: str, fingerprint: str) -> "optuna.Study":
        import optuna

        if self._database is None:
            self._folder.mkdir(parents=True, exist_ok=True)
        storage = _rows(self._database) if self._database else _journal(self._folder / f"{spec.name}.journal")
        direction: Any = "minimize" if spec.performance.metric == "log_loss" else "maximize"
        create = partial(optuna.create_study, study_name=name, storage=storage, direction=direction)
        study = create(load_if_exists=True)
        if study.user_attrs.get("fingerprint", fingerprint) != fingerprint:
            _LOG.warning("Study %s was made for other rows or another declaration: it begins again.", name)
            optuna.delete_study(study_name=name, storage=storage)
            study = create()
        study.set_user_attr("fingerprint", fingerprint)
        startup = max(3, spec.training.trials // 4)
        seed = spec.training.seed + len(study.trials)  # so that a resumed study does not draw the first trials again
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=2 * REPORT_EVERY_ROUNDS)
        return study

    def _optimize(self, study: "optuna.Study", spec: ModelSpec, objective: Objective) -> None:
        left = spec.training.timeout_seconds - _busy_seconds(_finished(study))
        allowed = spec.training.trials - len(_finished(study))
        if allowed <= 0 or left <= 0:
            return
        if self._cluster is not None and spec.training.engine == "dask":
            from selfheal_assets.adapters.dask_trials import DaskTrials

            with self._cluster.client() as client:
                trials = DaskTrials(self._cluster, client, study, objective)
                trials.run(allowed, left, lambda: self._report(study, spec.training.trials))
        else:
            tell = [lambda current, _: self._report(current, spec.training.trials)]
            study.optimize(objective, n_trials=allowed, timeout=left, catch=(Exception,), callbacks=tell)

    def _report(self, study: "optuna.Study", total: int) -> None:
        if self._progress is not None:
            self._progress(len(_finished(study)), total, study.best_value if _scored(study) else math.nan)


def _rows(url: str) -> "optuna.storages.RDBStorage":
    """Optuna's tables, made when they are missing."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except (SQLAlchemyError, RuntimeError) as error:
        raise TrainingError(
            f"the database of the studies must take tables and rows; received {discreet(url)} "
            f"({type(error).__name__}: {discreet(_line(error)):.300}). Run `selfheal doctor`."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _journal(path: Path) -> "optuna.storages.JournalStorage":
    """Optuna's append-only file, without a last line that a power cut left unfinished: it would spoil the next."""
    from filelock import FileLock
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    # The kernel drops this lock with its process; Optuna's own link files outlive a kill for 30 s.
    lock: Any = FileLock(f"{path}.lock")

    class Journal(JournalFileBackend):
        # Without its fsync, 10 ms for every reported round: what is written survives the death of the process.
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            with lock, path.open("ab") as journal:
                journal.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())

    try:
        with lock:
            if path.exists() and not (written := path.read_bytes()).endswith(b"\n"):
                os.truncate(path, written.rfind(b"\n") + 1)
        return JournalStorage(Journal(str(path), lock_obj=lock))
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"a study's journal must be readable; received {path} ({type(error).__name__}: {error}). "
            "Move the file away: tuning then begins without its history."
        ) from error


def _fail_orphans(study: "optuna.Study") -> None:
    """Trials that a killed process left RUNNING become FAIL; their parameters get one more try."""
    from optuna.trial import TrialState

    for orphan in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(orphan.number, state=TrialState.FAIL)
        parameters = {**orphan.system_attrs.get("fixed_params", {}), **orphan.params}
        if parameters and "retry_of" not in orphan.user_attrs:
            study.enqueue_trial(parameters, user_attrs={"retry_of": orphan.number})


def _finished(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _busy_seconds(finished: "Sequence[optuna.trial.FrozenTrial]") -> float:
    """For how long at least one of the trials was under way; without those that a killed process left."""
    ended, busy = datetime.min, timedelta()
    judged = [trial for trial in finished if "seconds" in trial.user_attrs]
    for trial in sorted(judged, key=lambda one: one.datetime_start or ended):
        if trial.datetime_start and trial.datetime_complete and trial.datetime_complete > ended:
            busy += trial.datetime_complete - max(ended, trial.datetime_start)
            ended = trial.datetime_complete
    return busy.total_seconds()


def _scored(study: "optuna.Study") -> bool:
    return any(trial.state.name == "COMPLETE" for trial in _finished(study))


def _result(study: "optuna.Study", objective: Objective) -> TunedParameters:
    finished = _finished(study)
    if not _scored(study):
        reason = _row(finished[0])["reason"] if finished else "no trial began"
        raise TrainingError(
            f"at least one trial of a study must succeed; received {len(finished)} of {study.study_name!r} that did "
            f"not, the first for this reason: {reason}. Repair the data or the declaration, and start a new study."
        )
    best = _row(study.best_trial)
    return TunedParameters(
        parameters=best["parameters"],
        window=best["window"],
        score=best["score"],
        trials=[_row(trial) for trial in finished],
        history={"study": study.study_name, "best_trial": best["number"], "windows": objective.windows},
    )


def _row(trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "score": trial.value,
        "window": trial.params.get("window"),
        "parameters": {name: value for name, value in trial.params.items() if name != "window"},
        "seconds": trial.user_attrs.get("seconds"),
        "reason": trial.user_attrs.get("reason", KILLED if trial.state.name == "FAIL" else ""),
    }
