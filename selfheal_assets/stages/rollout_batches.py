"""Roll out without a server: both models score clean batches; a Look at those rows out. Never decides who serves."""

from typing import TYPE_CHECKING

from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout_look import Look, look_of_rows
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.traffic import Arm, Traffic
from selfheal_assets.ports import BatchRows, Model, Services
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.rollout_look import MOST_ROWS, TABLE, changed_batches
from selfheal_assets.stages.rollout_records import newest_rollout

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CHAMPION, CHALLENGER, ANSWERS, LABEL, PLACE = "champion", "challenger", "challenger_answers", "label", "label_place"


class Trial:
    """The two models of the rollout that is under way, loaded once a run."""

    def __init__(self, services: Services, spec: ModelSpec) -> None:
        self._services, self._spec = services, spec
        self._models: dict[str, Model] = {}

    def score(self, batch_id: str, rows: BatchRows) -> str | None:
        """Keep the scores of both, once a batch: what was counted stays counted. `rows`: the batch's features.

        Why they could not be kept, else None: a batch is not to suffer from a trial.
        """
        if self._spec.rollout.over != "batches":
            return None
        try:
            self._score(batch_id, rows)
        except Exception as error:
            return f"{batch_id} is left out of the rollout: {type(error).__name__}: {error}"
        return None

    def _score(self, batch_id: str, rows: BatchRows) -> None:
        import pandas as pd

        services, spec = self._services, self._spec
        rollout = newest_rollout(services.ledger, spec)
        if rollout is None or rollout.ended or services.batches.has(spec.name, TABLE, _part(rollout, batch_id)):
            return
        names = services.features.names(spec)
        models = {CHAMPION: self._model(rollout.champion), CHALLENGER: self._model(rollout.challenger)}
        with services.batches.writing(spec.name, TABLE, _part(rollout, batch_id)) as add:
            for part in rows.parts():
                event_ids = part[spec.data.event_id].astype(str)
                scores = {name: _scores(model, part[names]) for name, model in models.items()}
                add(pd.DataFrame({"event_id": event_ids, **scores, ANSWERS: _answers(rollout, event_ids)}))

    def _model(self, version: str) -> Model:
        if version not in self._models:
            registry = self._services.registry
            found = next((v for v in registry.versions(self._spec.name) if v.version == version), None)
            if found is None:
                raise RegistryError(
                    f"Both versions of a rollout must be in the registry; received {version}, which is not. Restore "
                    f"it, or end the rollout: `selfheal rollout abort {self._spec.name}`."
                )
            self._models[version] = registry.load(found)
        return self._models[version]


def _scores(model: Model, features: "pd.DataFrame") -> "np.ndarray":
    """(n,); of a model that fails on the batch NaN, which counts as errors."""
    import numpy as np

    try:
        return model.score(features)
    except Exception:
        return np.full(len(features), np.nan)


def batch_look(services: Services, spec: ModelSpec, rollout: Rollout, since: int) -> tuple[Look, int]:
    """The counts over all batches that both have scored, and the ledger's place up to which they are in."""
    changed, place = changed_batches(services, spec, since)
    for batch_id in changed:
        _add(services, spec, rollout, batch_id)
    if not services.batches.has(spec.name, TABLE, rollout.id):
        return Look(), place
    rows = services.batches.read(spec.name, TABLE, rollout.id).sort_values(PLACE, kind="stable", na_position="last")
    return look_of_rows(rows[CHAMPION], rows[CHALLENGER], rows[LABEL], rows[ANSWERS].astype(float)), place


def _add(services: Services, spec: ModelSpec, rollout: Rollout, batch_id: str) -> None:
    """The batch's rows, and the labels that they have by now; a label that is in stays as it came."""
    import pandas as pd

    part = _part(rollout, batch_id)
    if not services.batches.has(spec.name, TABLE, part):
        return
    scores = services.batches.read(spec.name, TABLE, part).drop_duplicates("event_id")
    rows = scores.assign(**{LABEL: float("nan"), PLACE: float("nan")})
    if services.batches.has(spec.name, TABLE, rollout.id):
        kept = services.batches.read(spec.name, TABLE, rollout.id)
        new = rows[~rows["event_id"].isin(kept["event_id"])].head(max(0, MOST_ROWS - len(kept)))
        rows = pd.concat([kept, new], ignore_index=True) if len(new) else kept
    known = _labels(services, spec, batch_id)
    came = rows["event_id"].map(known).where(rows[LABEL].isna())
    begin = float(rows[PLACE].max()) if rows[PLACE].notna().any() else 0.0
    places = begin + came.notna().cumsum()
    rows = rows.assign(**{LABEL: rows[LABEL].fillna(came), PLACE: rows[PLACE].fillna(places.where(came.notna()))})
    services.batches.write(spec.name, TABLE, rollout.id, rows)


def _labels(services: Services, spec: ModelSpec, batch_id: str) -> "pd.Series":
    """By event id, of the clean rows that have one."""
    clean = services.batches.read(spec.name, "clean", batch_id)[[spec.data.event_id, spec.data.label]]
    known = labels_of(services, spec, batch_id, clean)
    known = known[known[spec.data.label].isin((0.0, 1.0))].drop_duplicates(spec.data.event_id)
    return known.set_index(known[spec.data.event_id].astype(str))[spec.data.label]


def _answers(rollout: Rollout, event_ids: "pd.Series") -> list[bool]:
    """Which rows would be the challenger's, by the share that it has come to; in the bake all of them."""
    if rollout.state is RolloutState.BAKE:
        return [True] * len(event_ids)
    traffic = Traffic(
        champion=rollout.champion, challenger=rollout.challenger, weight=rollout.weight, rollout=rollout.id
    )
    return [traffic.arm(event_id) is Arm.CHALLENGER for event_id in event_ids]


def _part(rollout: Rollout, batch_id: str) -> str:
    return f"{rollout.id}-{batch_id}"
