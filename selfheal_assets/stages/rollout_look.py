"""Look at a rollout: what the servers counted, and rows whose labels have come, in; a Look out. Never judges it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selfheal_assets.core import served_columns as served
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.rollout_counts import look_of_servers
from selfheal_assets.core.rollout_look import Look
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.core.server_reading import ServerReading
from selfheal_assets.core.statistics.risk_monitor import brier_losses
from selfheal_assets.ports import Services
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.served_rows import PART

if TYPE_CHECKING:
    import pandas as pd

TABLE = "rollout"
"""The part of the batch store with the labelled rows of a rollout, in the order in which their labels came."""
DIFFERENCE = "loss_difference"
MOST_ROWS = 100_000
"""Labelled rows of one rollout: by then the quality is known."""
BATCHES_A_LOOK = 4
"""A look must not take long; what it leaves, the next one takes."""


def counts(servers: Sequence[ServerReading], champion: str, challenger: str) -> tuple[Look | None, str]:
    """What the servers counted of both versions by now, or None and why not."""
    try:
        found = look_of_servers(servers, champion, challenger)
    except SelfhealError as error:
        return None, str(error)
    silent = [server.url for server in servers if not server.answered]
    return found, f"no answer from {', '.join(silent)}" if silent else f"{len(servers)} servers"


def labelled_rows(services: Services, spec: ModelSpec, rollout: Rollout, since: int) -> tuple[tuple[float, ...], int]:
    """Loss differences of the rollout's rows whose labels have come, and the ledger's place up to which they are in.

    Labels that came after the record `since` are added to those that are kept. A row counts once, by its first label.
    """
    changed, place = changed_batches(services, spec, since)
    for batch_id in changed:
        _add(services, spec, rollout, batch_id)
    if not services.batches.has(spec.name, TABLE, rollout.id):
        return (), place
    kept = services.batches.read(spec.name, TABLE, rollout.id)
    return tuple(kept[DIFFERENCE].tolist()), place


def changed_batches(services: Services, spec: ModelSpec, since: int) -> tuple[list[str], int]:
    """Batches that were done with, or got labels, after the record, in that order, and the record of the last."""
    kinds = (RecordKind.BATCH_CLOSED, RecordKind.LABELS)
    found: list[Record] = sorted(
        (record for kind in kinds for record in services.ledger.after(spec.name, kind, since, BATCHES_A_LOOK)),
        key=lambda record: record.sequence,
    )[:BATCHES_A_LOOK]
    return list(dict.fromkeys(record.subject for record in found)), found[-1].sequence if found else since


def _add(services: Services, spec: ModelSpec, rollout: Rollout, batch_id: str) -> None:
    import pandas as pd

    if not all(services.batches.has(spec.name, part, batch_id) for part in (PART, "clean")):
        return
    rows = _judged_rows(services, spec, rollout, batch_id)
    if services.batches.has(spec.name, TABLE, rollout.id):
        kept = services.batches.read(spec.name, TABLE, rollout.id)
        rows = rows[~rows["event_id"].isin(kept["event_id"])].head(MOST_ROWS - len(kept))
        together = pd.concat([kept, rows], ignore_index=True)
    else:
        together = rows
    if len(rows):
        services.batches.write(spec.name, TABLE, rollout.id, together)


def _judged_rows(services: Services, spec: ModelSpec, rollout: Rollout, batch_id: str) -> "pd.DataFrame":
    """Columns event_id and loss_difference of the clean rows that both scored in this rollout, and a label has."""
    import pandas as pd

    event_id, label = spec.data.event_id, spec.data.label
    answers = services.batches.read(spec.name, PART, batch_id)
    nothing = pd.DataFrame({"event_id": pd.Series(dtype=str), DIFFERENCE: pd.Series(dtype=float)})
    if served.ROLLOUT not in answers:
        return nothing
    both = answers[answers[served.ROLLOUT].astype("string") == rollout.id]
    both = both[[event_id, served.CHAMPION_SCORE, served.CHALLENGER_SCORE]].dropna()
    clean = services.batches.read(spec.name, "clean", batch_id)[[event_id, label]]
    known = labels_of(services, spec, batch_id, clean)
    known = known[known[label].isin((0.0, 1.0))]
    both, known = (frame.assign(**{event_id: frame[event_id].astype(str)}) for frame in (both, known))
    rows = both.merge(known, on=event_id).drop_duplicates(event_id)
    scores = [pd.to_numeric(rows[s], errors="coerce") for s in (served.CHALLENGER_SCORE, served.CHAMPION_SCORE)]
    sound = scores[0].between(0.0, 1.0) & scores[1].between(0.0, 1.0)
    rows = rows[sound]
    if rows.empty:
        return nothing
    losses = [brier_losses(rows[label].to_numpy(), score[sound].to_numpy()) for score in scores]
    return pd.DataFrame({"event_id": rows[event_id].to_numpy(), DIFFERENCE: losses[0] - losses[1]})
