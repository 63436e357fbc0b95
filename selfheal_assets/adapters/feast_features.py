"""The feature store port on Feast: publishes batches, answers point in time and online. Never changes a row's order."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters import feast_frames as frames
from selfheal_assets.adapters import feast_transforms as transforms
from selfheal_assets.adapters.feast_online import ROWS_A_REQUEST, refill, refresh
from selfheal_assets.adapters.feast_repository import (
    REPOSITORY,
    ServicePlan,
    fingerprint,
    load_declared,
    open_store,
    plan_service,
    quiet,
    translated,
)
from selfheal_assets.adapters.feast_stores import FeastStores
from selfheal_assets.adapters.home_files import HomeFiles
from selfheal_assets.adapters.stored_rows import StoredRows
from selfheal_assets.adapters.turns import Alone, in_turn
from selfheal_assets.core.errors import FeatureError, SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.durable import replaced
from selfheal_assets.ports import BatchRows, Published, batch_rows

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    from feast import FeatureService, FeatureStore

_SCHEMA_FILE = "_schema.parquet"
PUBLISHING, LOCK_SECONDS = "publish", 3600.0
JOIN_ROWS = 10_000
"""Rows a join. Feast pairs each with all of its entity's feature rows before it keeps the latest: a million rows of 500
accounts at once would be a thousand million pairs."""


class FeastFeatures:
    """Features of every model that the repositories declare. One object a process; safe among processes."""

    def __init__(
        self,
        home: Path,
        roots: Sequence[Path],
        clean_files: Callable[[str], Sequence[Path]],
        stores: FeastStores = FeastStores(),  # noqa: B008 - frozen
        *,
        files: HomeFiles | None = None,
        alone: Alone | None = None,
    ) -> None:
        """`roots` hold a `feature_repo/` each, the first is the main one; `clean_files(model)` gives the model's clean
        batches, one Parquet file each, named `<batch_id>.parquet`. `stores`: where else than feature_store.yaml says.
        `files`: where published features stand. `alone`: keeps publishers apart instead of a file."""
        self._stores = stores
        self._files = files or HomeFiles()
        self._alone = alone or in_turn(home.resolve() / "feast")
        self._home = home.resolve()
        self._roots = tuple(root.resolve() for root in roots)
        self._clean_files = clean_files
        self._plans: dict[str, tuple[FeatureService, ServicePlan]] = {}

    @cached_property
    def _store(self) -> "FeatureStore":
        return open_store(self._roots, self._home, self._stores)

    def apply(self) -> None:
        """Register everything declared. Without any change of the files since the last time: nothing is imported.

        Raises SpecError naming every mistake, having registered nothing.
        """
        stamp = self._home / "feast" / "applied"
        with self._alone(PUBLISHING, LOCK_SECONDS):
            state = fingerprint(self._roots, self._home, self._stores)
            if stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
                return
            declared = load_declared(self._roots, self._home)
            if declared.problems:
                raise SpecError("\n".join(declared.problems))
            with quiet(), translated("Registering the Feast objects", "Correct feature_repo."):
                self._store.apply(list(declared.objects))
            self._prepare_folders(list(declared.views().values()))
            self._plans.clear()
            # Written last: after a kill anywhere before, the next start registers again.
            with replaced(stamp) as draft:
                draft.write_text(state, encoding="utf-8")

    def problems(self, spec: ModelSpec) -> list[str]:
        """Every mistake in what the model's spec, Feast objects and transform say about each other."""
        from selfheal_assets.adapters.feast_validation import feature_problems

        try:
            declared = load_declared(self._roots, self._home)
            return feature_problems(spec, declared, self._folder(spec.name), self._transform(spec.name))
        except Exception as error:
            return [f"{REPOSITORY} must be readable; {type(error).__name__}: {error}. Correct it."]

    def names(self, spec: ModelSpec) -> list[str]:
        """Request columns, then the service's features. FeatureError when the service is not registered."""
        _, plan = self._plan(spec)
        return [*spec.features.request, *plan.features]

    def publish(self, spec: ModelSpec, batch_id: str, rows: "pd.DataFrame | BatchRows") -> Published:
        """Write the batch's features for the joins, then into the online store what is newer than there.

        `rows`: clean rows with the batch's own columns. FeatureError when the transform fails:
        nothing is published then.
        """
        if not batch_id or batch_id != Path(batch_id).name or batch_id.startswith((".", "_")):
            raise FeatureError(f"A batch id must be a plain file name; received {batch_id!r}. Rename the batch.")
        views = self._published_views(spec)
        if not views or not self._transform(spec.name).is_file():
            return Published(offline_rows={}, online_rows=0, materialized_until=None)
        target = self._folder(spec.name) / f"{batch_id}.parquet"
        # One publisher at a time: the watermark is read, used and moved on.
        with self._alone(PUBLISHING, LOCK_SECONDS):
            remedy = f"Correct {self._transform(spec.name)} or the rows."
            with translated(f"Publishing {batch_id}", remedy), self._files.replaced(target) as draft:
                written = self._write_offline(spec, views, _as_given(rows), batch_id, draft)
            with translated(f"Materializing {batch_id}", "Publish the batch again."):
                refreshed = [refresh(self._store, view.name, target) for view in views]
        return Published(
            offline_rows={view.name: written for view in views},
            online_rows=sum(count for count, _ in refreshed),
            materialized_until=_online_together([until for _, until in refreshed]),
        )

    def refill(self, spec: ModelSpec) -> "datetime | None":
        """Put the newest published values of every entity into an online store that lost them.

        The event time up to which all views are online; None when a view never was.
        """
        views = self._published_views(spec)
        self._files.listing(self._folder(spec.name))
        with self._alone(PUBLISHING, LOCK_SECONDS), translated(f"Materializing {spec.name}", "Try again."):
            return _online_together([refill(self._store, view.name) for view in views])

    def historical(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """As in the port. Features older than the view's ttl at the row's event time are missing."""
        import pandas as pd

        service, plan = self._plan(spec)
        asked = frames.entity_frame(spec, plan, rows)
        if asked.empty:
            return frames.assemble(spec, plan, rows, asked)
        self._files.listing(self._folder(spec.name))
        remedy = "If a view or transform has changed, publish the clean batches again."
        with quiet(), translated("The point-in-time join", remedy):
            parts = [
                self._store.get_historical_features(entity_df=asked.iloc[i : i + JOIN_ROWS], features=service).to_df()
                for i in range(0, len(asked), JOIN_ROWS)
            ]
        return frames.assemble(spec, plan, rows, frames.in_order(pd.concat(parts), len(rows)))

    def online(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """As in the port. Where `rows` has the event timestamp, features older than the view's ttl are missing."""
        import pandas as pd

        service, plan = self._plan(spec)
        asked = frames.request_frame(plan, rows)
        if asked.empty:
            return frames.assemble(spec, plan, rows, asked)
        with translated("The online store", "Run `selfheal init`, then publish a batch."):
            answer = self._ask_online(service, asked)
            # Feast never drops what is past its ttl: such rows are asked again, without the keys of the stale views.
            again = frames.without_stale_keys(spec, plan, rows, asked, answer)
            if not again.empty:
                for name, values in self._ask_online(service, again).items():
                    for row, value in zip(again.index, values, strict=True):
                        answer[name][row] = value
        return frames.assemble(spec, plan, rows, pd.DataFrame(answer))

    def _ask_online(self, service: "FeatureService", asked: "pd.DataFrame") -> dict[str, list[Any]]:
        """Values by feature name, and their event times (seconds since 1970) by `<feature>__ts`."""
        answer: dict[str, list[Any]] = {}
        for start in range(0, len(asked), ROWS_A_REQUEST):
            part = asked.iloc[start : start + ROWS_A_REQUEST]
            request = {name: part[name].tolist() for name in asked.columns}
            response = self._store.get_online_features(features=service, entity_rows=request)
            for name, values in response.to_dict(include_event_timestamps=True).items():
                answer.setdefault(name, []).extend(values)
        return answer

    def _plan(self, spec: ModelSpec) -> "tuple[FeatureService, ServicePlan]":
        name = spec.features.service
        if name not in self._plans:
            store = self._store
            with quiet(), translated(f"Feature service {name!r}", "Declare it in feature_repo, then `selfheal init`."):
                service = store.get_feature_service(name)
                views = {view.name: view for view in store.list_all_feature_views()}
                self._plans[name] = service, plan_service(service, views)
        return self._plans[name]

    def _published_views(self, spec: ModelSpec) -> list[Any]:
        """The views of the model's service that read what is published here."""
        _, plan = self._plan(spec)
        return [view for view in plan.history if frames.files_of(view) == self._folder(spec.name)]

    def _folder(self, model: str) -> Path:
        return self._home / "features" / model

    def _transform(self, model: str) -> Path:
        """The model's SQL file in the first root that has it; in the first root when none has."""
        candidates = [root / REPOSITORY / "transforms" / f"{model}.sql" for root in self._roots]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def _prepare_folders(self, views: Sequence[Any]) -> None:
        """Before the first batch, a join needs at least one file: an empty one that has the columns."""
        columns: dict[Path, dict[str, str]] = {}
        for view in views:
            folder = frames.files_of(view)
            if folder is not None and folder.parent == self._home / "features":
                columns.setdefault(folder, {}).update(frames.published_columns([view]))
        for folder, kinds in columns.items():
            with self._files.replaced(folder / _SCHEMA_FILE) as draft:
                transforms.write_without_rows(kinds, draft)

    def _write_offline(
        self, spec: ModelSpec, views: Sequence[Any], rows: "pd.DataFrame | Path", batch_id: str, target: Path
    ) -> int:
        columns = frames.published_columns(views)
        if not isinstance(rows, Path) and rows.empty:
            transforms.write_without_rows(columns, target)
            return 0
        return transforms.compute_features(
            self._transform(spec.name).read_text(encoding="utf-8"),
            rows if isinstance(rows, Path) else frames.utc(rows, spec.data.event_timestamp),
            [path for path in self._clean_files(spec.name) if path.stem != batch_id],
            spec.data.event_timestamp,
            columns,
            frames.join_keys(views),
            target,
        )


def _online_together(untils: "Sequence[datetime | None]") -> "datetime | None":
    """The event time up to which all views are online; None when one never was, or there is none."""
    reached = [until for until in untils if until is not None]
    return min(reached) if reached and len(reached) == len(untils) else None


def _as_given(rows: "pd.DataFrame | BatchRows") -> "pd.DataFrame | Path":
    """A frame; or the file, where that has too many rows for one."""
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    if isinstance(rows, StoredRows) and len(rows) > batch_rows.PART_ROWS:
        return rows.path
    return rows.frame()
