"""Versions on their way into a server: copied whole, the same files and answers as validated, or refused."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import COLUMNS, Outage, Server, release, trained

from selfheal_assets.adapters.xgboost_trainer import BOOSTER_FILE, SCHEMA_FILE
from selfheal_assets.core.errors import RegistryError, ServingError
from selfheal_assets.core.golden_probe import DOCUMENT
from selfheal_assets.ports import ModelVersion
from selfheal_assets.serving.model_cache import KEPT, ModelCache


@pytest.fixture
def registry(tmp_path: Path) -> Outage:
    return Outage(tmp_path / "registry")


@pytest.fixture
def server(registry: Outage, tmp_path: Path) -> Server:
    return Server(registry, tmp_path / "server")


def changed_probe(registry: Outage, version: ModelVersion, **parts: Any) -> None:
    document = registry.kept(version, DOCUMENT)
    assert document is not None
    registry.keep(version, DOCUMENT, document | parts)


def test_a_version_is_copied_and_scores_as_it_did(registry: Outage, server: Server) -> None:
    version = release(registry, 0.1)
    loaded = server.loader().load("1")
    assert (loaded.version, loaded.run_id, loaded.loaded_at) == ("1", version.run_id, server.clock.now())
    np.testing.assert_array_equal(loaded.score(COLUMNS), trained(0.1).score_columns(COLUMNS))
    copied = {file.name for file in (server.cache / "1").iterdir()}
    assert copied == {BOOSTER_FILE, SCHEMA_FILE, f"{DOCUMENT}.json", "version.json"}
    assert {path.name for path in server.cache.iterdir()} <= {"1", ".lock"}, "nothing is left of the copying"


def test_the_copy_is_used_when_there_is_one(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    server.loader().load("1")
    before = (server.cache / "1" / BOOSTER_FILE).stat().st_ino
    server.loader().load("1")
    assert (server.cache / "1" / BOOSTER_FILE).stat().st_ino == before


@pytest.mark.parametrize("file", [BOOSTER_FILE, SCHEMA_FILE])
@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:-9] + b"\0" * 9, lambda _: None])
def test_a_damaged_file_is_never_parsed(registry: Outage, server: Server, file: str, damage: Any) -> None:
    place = registry.folder(release(registry, 0.1)) / file
    left = damage(place.read_bytes())
    place.unlink() if left is None else place.write_bytes(left)
    with pytest.raises(
        ServingError, match=rf"must be those that were validated; received another '{file}' of version 1"
    ):
        server.loader().load("1")
    assert server.reader.read == []
    assert ModelCache(server.cache).find("1") is None, "it cannot be mistaken for a good one later"


def test_a_damaged_copy_is_made_anew(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    loaded = server.loader().load("1")
    (server.cache / "1" / BOOSTER_FILE).write_bytes(b"rubbish")
    with pytest.raises(ServingError, match="must be those that were validated"):
        server.loader().from_cache("1")
    np.testing.assert_array_equal(server.loader().load("1").score(COLUMNS), loaded.score(COLUMNS))
    assert server.loader().from_cache("1").version == "1"


def test_other_scores_than_at_the_validation_are_refused(registry: Outage, server: Server) -> None:
    version = release(registry, 0.1)
    document = registry.kept(version, DOCUMENT)
    assert document is not None
    scores = document["scores"]
    changed_probe(registry, version, scores=[scores[0] + 5e-7, *scores[1:]])
    assert server.loader().load("1").version == "1", "within the tolerance"
    (server.cache / "1" / "version.json").unlink()
    changed_probe(registry, version, scores=[*scores[:-1], scores[-1] - 1e-3])
    with pytest.raises(
        ServingError, match="must answer its golden probe as at its validation; received version 1, and 1 of"
    ):
        server.loader().load("1")


def test_a_probe_that_the_model_cannot_score_refuses_it(registry: Outage, server: Server) -> None:
    version = release(registry, 0.1)
    changed_probe(registry, version, columns={"amount": [1.0], "distance": ["far"]}, scores=[0.5])
    with pytest.raises(
        ServingError, match=r"it cannot score them \(TrainingError: feature 'distance' must hold numbers"
    ):
        server.loader().load("1")


def test_a_version_without_a_probe_is_refused(registry: Outage, server: Server) -> None:
    version = release(registry, 0.1, probed=False)
    with pytest.raises(ServingError, match=r"a version must have a golden probe.*received none"):
        server.loader().load("1")
    (registry.folder(version) / f"{DOCUMENT}.json").write_text('{"scores": [0')
    with pytest.raises(ServingError, match="a golden probe must be readable JSON"):
        server.loader().load("1")


def test_files_that_are_no_model_are_refused(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    loader = server.loader()

    def unreadable(folder: Path) -> Any:
        raise MemoryError(folder.name)

    loader._read = unreadable
    with pytest.raises(ServingError, match=r"must be a model; received version 1 \(MemoryError: 1\)"):
        loader.load("1")


def test_a_version_that_was_never_registered_is_refused(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    with pytest.raises(ServingError, match="must be registered to be served; received toy version 7"):
        server.loader().load("7")
    with pytest.raises(ServingError, match=r"must be a plain number or name; received '\.\./\.\./etc'"):
        server.loader().from_cache("../../etc")


def test_without_the_registry_the_copy_serves(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    release(registry, 0.9)
    server.loader().load("1")
    registry.down = True
    assert server.loader().load("1").version == "1"
    with pytest.raises(RegistryError, match="the registry must answer"):
        server.loader().load("2")
    with pytest.raises(
        ServingError, match="must be on this machine to be served without the registry; received toy version 2"
    ):
        server.loader().from_cache("2")


def test_a_registry_that_was_made_anew_is_not_mistaken_for_the_old_one(tmp_path: Path, server: Server) -> None:
    release(server.registry, 0.1)
    server.loader().load("1")
    origin = server.cache / "1" / "version.json"
    origin.write_text(json.dumps(json.loads(origin.read_text()) | {"run_id": "another"}))
    other = Outage(tmp_path / "other")
    release(other, 0.9)
    server.registry = other
    np.testing.assert_array_equal(server.loader().load("1").score(COLUMNS), trained(0.9).score_columns(COLUMNS))


def test_a_full_disk_is_told(registry: Outage, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    release(registry, 0.1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(ServingError, match=r"must be copied to this machine.*No space left"):
        server.loader().load("1")


def test_only_copies_used_last_are_kept(tmp_path: Path) -> None:
    cache, files = ModelCache(tmp_path / "cache"), tmp_path / "files"
    files.mkdir()
    (files / "model.ubj").write_bytes(b"tree")
    version = release(Outage(tmp_path / "registry"), 0.1)
    for number in range(1, KEPT + 4):
        copied = cache.put(ModelVersion(**(vars(version) | {"version": str(number)})), files)
        os.utime(copied.folder, (number, number))
    old, new = tmp_path / "cache" / ".1.draft", tmp_path / "cache" / ".2.trash"
    for draft in (old, new):
        draft.mkdir()
    os.utime(old, (time.time() - 7_200,) * 2)
    cache.prune(["1"])
    assert {path.name for path in (tmp_path / "cache").iterdir()} - {".lock"} == {"1", "5", "6", "7", "8", ".2.trash"}
    assert cache.find("1") is not None
    assert cache.find("2") is None


def test_workers_that_start_at_once_all_serve(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    (server.cache / "1").mkdir(parents=True)
    (server.cache / "1" / "version.json").write_text("left by a full disk")
    with ThreadPoolExecutor(8) as pool:
        loaded = [*pool.map(lambda _: server.loader().load("1"), range(8))]
    assert [one.version for one in loaded] == ["1"] * 8


def test_a_fresh_copy_outlives_who_found_the_old_one_damaged(registry: Outage, server: Server) -> None:
    version = release(registry, 0.1)
    cache = ModelCache(server.cache)
    old = cache.put(version, registry.folder(version))
    cache.drop(old)
    fresh = cache.put(version, registry.folder(version))
    cache.drop(old)
    assert cache.find("1") == fresh
    cache.drop(fresh)
    cache.drop(fresh)
    assert cache.find("1") is None


def test_several_processes_may_put_the_same_version(tmp_path: Path) -> None:
    registry = Outage(tmp_path / "registry")
    version = release(registry, 0.1)
    files, cache = registry.folder(version), ModelCache(tmp_path / "cache")
    with ThreadPoolExecutor(4) as pool:
        put = [*pool.map(lambda _: cache.put(version, files), range(40))]
    assert len({copy.copy_id for copy in put}) == 1, "nobody takes away what another one opens"
    assert cache.find("1", version.run_id) == put[0]
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"1", ".lock"}
