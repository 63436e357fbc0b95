"""Collect the events that the prediction log holds, wherever they are: a home in, event ids out. Never moves one."""

import json
from collections.abc import Iterator
from pathlib import Path

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.server_files import model_root
from selfheal_assets.stages.served_rows import PART
from selfheal_assets.wiring import Services

SERVED = "served-"
"""How the file of a landed segment begins."""
BATCHES_READ = 10_000


def logged_events(services: Services, spec: ModelSpec) -> set[str]:
    """In the order in which a segment goes: lines, table, landing, batch; so that none is missed that moves on."""
    event_id = spec.data.event_id
    folder = model_root(services.home, spec.name) / "log"
    found = set[str]()
    for file in sorted(folder.glob("*.jsonl")):
        found.update(_of_lines(file, event_id))
    for file in [*sorted(folder.glob("*.parquet")), *sorted(services.batches.landing(spec.name).glob(f"{SERVED}*"))]:
        found.update(_of_table(file, event_id))
    for record in services.ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, limit=BATCHES_READ):
        if services.batches.has(spec.name, PART, record.subject):
            found.update(map(str, services.batches.read(spec.name, PART, record.subject)[event_id]))
    return found


def _of_lines(file: Path, event_id: str) -> Iterator[str]:
    try:
        content = file.read_text(encoding="utf-8")
    except FileNotFoundError:  # It has just become a table.
        return
    for line in content.splitlines():
        try:
            yield str(json.loads(line)["event"][event_id])
        except (ValueError, KeyError, TypeError):  # The torn last line of a killed process.
            continue


def _of_table(file: Path, event_id: str) -> Iterator[str]:
    import pandas as pd

    try:
        yield from map(str, pd.read_parquet(file, columns=[event_id])[event_id])
    except FileNotFoundError:
        return
