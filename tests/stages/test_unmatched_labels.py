"""Labels whose row never comes, at the end of a join: set aside after the declared time, and told in its metadata."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
from brain import spec

from selfheal_assets.adapters.label_store import FileLabelStore
from selfheal_assets.ports import Services
from selfheal_assets.stages import labels as module

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPEC = replace(spec(), performance=replace(spec().performance, labels_wait_days=10.0))


def test_a_join_sets_aside_what_waited_longer_than_declared(tmp_path: Path) -> None:
    store, warned = FileLabelStore(tmp_path), list[str]()
    file = store.landing("m") / "a.csv"
    file.parent.mkdir(parents=True)
    file.write_text("id,y\n1,0\n2,1\n")
    file_id = store.claim("m", file)
    assert file_id is not None
    store.take("m", file_id, SPEC.data, {}, NOW)
    store.keep_waiting("m", store.waiting("m", [file_id]), [file_id], 1)
    context = cast(dg.AssetExecutionContext, SimpleNamespace(log=SimpleNamespace(warning=warned.append)))

    def join(days: float) -> dict[str, Any]:
        clock = SimpleNamespace(now=lambda: NOW + timedelta(days=days))
        done = module._Join()
        module._set_aside(context, cast(Services, SimpleNamespace(labels=store, clock=clock)), SPEC, done)
        return {name: module._metadata(done)[name].value for name in ("waiting", "unmatched")}

    assert (join(9.9), warned) == ({"waiting": 2, "unmatched": 0}, [])
    assert join(10.1) == {"waiting": 0, "unmatched": 2}
    assert warned == ["2 labels found no row in 10 days: they are kept, and looked for no longer"]
    assert join(11) == {"waiting": 0, "unmatched": 2}
    assert len(warned) == 1
