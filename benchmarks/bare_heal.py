"""Do the work of one healing as a plain script, by direct library calls, and say how long it took. Never uses Dagster.

Run by heal_cycle.py: `bare_heal.py <home> <files>`. The home is as it was before the files landed: the champion in
MLflow, its reference, the clean batches and their features. It reads the files, runs the declared checks by Great
Expectations itself, computes and joins the features by DuckDB and Feast themselves, scores, measures drift and
performance, joins the training rows, tunes by the same seeded study, trains, registers in MLflow itself, judges by the
same gates and moves the alias. No ledger, no sensors, no plots, no Data Docs, no online store, no crash safety.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bare_judgement import judge
from bare_libraries import Features, Registry, failing_rows
from fresh_process import say
from import_cost import HEAL, import_all

from selfheal_assets.adapters.alibi_drift import AlibiDriftDetector
from selfheal_assets.adapters.batch_store import FileBatchStore, batch_id_of
from selfheal_assets.adapters.column_types import load_types
from selfheal_assets.adapters.dbt_checks import load_checks
from selfheal_assets.adapters.optuna_search import OptunaTuner
from selfheal_assets.adapters.tables import read_table
from selfheal_assets.adapters.xgboost_trainer import XGBoostTrainer
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.performance import assess_performance
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.ports import LabelledRows
from selfheal_assets.project import MODELS, PROJECT, check_folders
from selfheal_assets.stages.drift_frames import compare_frames, compare_scores

if TYPE_CHECKING:
    import pandas as pd

MODEL = "payments"
BATCH, SPLIT, TRAIN, HOLDOUT = "selfheal_batch_id", "selfheal_split", "train", "holdout"
SCORE = "score"


class BareHeal:
    """The script's parts, in the order of the loop's steps, and the seconds that each took."""

    def __init__(self, home: Path, files: Path) -> None:
        self.files = sorted(files.glob("*.parquet"))
        self.spec = load_spec(PROJECT / MODELS / MODEL / "defs.yaml")
        self.batches = FileBatchStore(home)
        self.features = Features(home, self.spec)
        self.registry = Registry(home, self.spec)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """The parts have the names of the loop's steps."""
        begun = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - begun

    def run(self) -> dict[str, Any]:
        """What shows that the same work was done; the alias has moved when it returns."""
        with self.timed("imports"):
            import_all(HEAL)
        new = self._new_batches()
        with self.timed("training_set"):
            frame = self._training_frame()
            rows, holdout = self._labelled(frame, TRAIN), self._labelled(frame, HOLDOUT)
        with self.timed("tuned_parameters"), tempfile.TemporaryDirectory() as folder:
            serving = self.registry.champion
            tuned = OptunaTuner(Path(folder)).tune(self.spec, "bare", rows, dict(serving.parameters))
        with self.timed("candidate_model"):
            model = XGBoostTrainer().train(self.spec, rows, tuned)
            data_hash, score = _hash(frame), model.score(holdout.features)
            value = metric(self.spec.performance.metric, holdout.label, score)
            version, folder_of_model = self.registry.register(
                model, tuned, holdout.features.head(5), {"metric": value}, {"data_hash": data_hash}
            )
        with self.timed("validation_report"):
            verdicts = judge(self.spec, model, serving, rows, holdout, folder_of_model)
        if set(verdicts) != {"PASS"}:
            raise RuntimeError(f"the bare script's candidate must pass every gate; received {verdicts}")
        with self.timed("champion_model"):
            self.registry.promote(version)
        return {
            "data_hash": data_hash,
            "trials": [[trial["state"], trial["score"]] for trial in tuned.trials],
            "window": tuned.window,
            "metric": value,
            "verdicts": verdicts,
            "statuses": new,
        }

    def _new_batches(self) -> list[str]:
        """Read, check, featurize, score and compare the new files; the performance's status of each."""
        types = load_types(check_folders([PROJECT]), self.spec)
        ids = [batch_id_of(file) for file in self.files]
        with self.timed("raw_batch"):
            raw = [read_table(file, types) for file in self.files]
        with self.timed("checked_batch"):
            checks = load_checks(check_folders([PROJECT]), self.spec)
            version = self.registry.version
            reference = self.batches.read(MODEL, "reference", version)
            for name, frame in zip(ids, raw, strict=True):
                bad = failing_rows(self.spec, frame, checks, reference, self.batches.earlier(MODEL, name))
                self.batches.write(MODEL, "clean", name, frame[~frame.index.isin(bad)].reset_index(drop=True))
        with self.timed("features"):
            joined = [self._features_of(name) for name in ids]
        with self.timed("predictions"):
            scores = [self.registry.champion.score(frame[self.features.names]) for frame in joined]
        with self.timed("observed_batch"):
            profile = self.batches.read_document(MODEL, f"reference-{version}") or {}
            found = [self._observe(f, s, reference, profile) for f, s in zip(joined, scores, strict=True)]
        if found != [Status.RAISED] * len(found):
            raise RuntimeError(f"the drifted batches must harm the champion; received {found}")
        return [str(status) for status in found]

    def _features_of(self, name: str) -> "pd.DataFrame":
        clean = self.batches.read(MODEL, "clean", name)
        self.features.compute(name, clean, [f for f in self.batches.files(MODEL, "clean") if f.stem != name])
        return self._with_features(clean)

    def _with_features(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        import pandas as pd

        data = self.spec.data
        identity = rows[[data.event_id, data.event_timestamp, data.label]].reset_index(drop=True)
        return pd.concat([identity, self.features.join(rows.reset_index(drop=True))], axis=1)

    def _observe(self, frame: "pd.DataFrame", score: Any, reference: "pd.DataFrame", profile: dict[str, Any]) -> Status:
        names, detector = self.features.names, AlibiDriftDetector()
        compare_frames(self.spec, detector, reference[names], frame[names], profile["importance"])
        compare_scores(self.spec, detector, reference[SCORE].dropna().to_numpy(), score)
        label = frame[self.spec.data.label].to_numpy(dtype=float, na_value=float("nan"))
        return assess_performance(self.spec.performance, label, score, profile["metric"]).status

    def _training_frame(self) -> "pd.DataFrame":
        """Labelled rows of the newest batches with their features, split by time, as the loop's training set is."""
        import pandas as pd

        data, training = self.spec.data, self.spec.training
        # The batches of the payments world are named by their place in time.
        newest = sorted(file.stem for file in self.batches.files(MODEL, "clean"))[-max(training.windows) :]
        rows = pd.concat(
            [self.batches.read(MODEL, "clean", name).assign(**{BATCH: name}) for name in newest], ignore_index=True
        )
        rows = rows[rows[data.label].notna()].sort_values([data.event_timestamp, data.event_id], kind="stable")
        rows = rows.drop_duplicates(data.event_id, keep="last").reset_index(drop=True)
        smallest = rows[BATCH].isin(newest[-min(training.windows) :])
        held_out = round(training.holdout_share * smallest.sum())
        frame = self._with_features(rows)
        frame[BATCH] = rows[BATCH].to_numpy()
        frame[SPLIT] = [TRAIN] * (len(rows) - held_out) + [HOLDOUT] * held_out
        return frame

    def _labelled(self, frame: "pd.DataFrame", split: str) -> LabelledRows:
        part, data = frame[frame[SPLIT] == split], self.spec.data
        return LabelledRows(
            features=part[self.features.names].reset_index(drop=True),
            label=part[data.label].to_numpy(dtype=float),
            event_id=part[data.event_id].to_numpy(),
            batch_id=part[BATCH].to_numpy(),
            event_time=part[data.event_timestamp].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]"),
        )


def _hash(frame: "pd.DataFrame") -> str:
    import pandas as pd

    return hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()


if __name__ == "__main__":
    os.environ["SELFHEAL_HOME"] = sys.argv[1]
    script = BareHeal(Path(sys.argv[1]), Path(sys.argv[2]))
    proof = script.run()
    moved = time.time()
    if "dagster" in sys.modules:
        raise RuntimeError("the bare script must not import Dagster; it did")
    say(moved=moved, spent=script.seconds, proof=json.loads(json.dumps(proof)))
