"""Who stands ready, look by look: what is followed, what is refused, and what stays when nobody can say."""

import json
import threading
from pathlib import Path

import pytest
from served_models import COLUMNS, Outage, Server, promote, release, trained

from selfheal_assets.adapters.xgboost_trainer import BOOSTER_FILE
from selfheal_assets.core.errors import LedgerError
from selfheal_assets.core.golden_probe import DOCUMENT
from selfheal_assets.core.traffic import Traffic
from selfheal_assets.ports import Line, ModelVersion
from selfheal_assets.serving.follower import Follower


@pytest.fixture
def registry(tmp_path: Path) -> Outage:
    return Outage(tmp_path / "registry")


@pytest.fixture
def server(registry: Outage, tmp_path: Path) -> Server:
    return Server(registry, tmp_path / "server")


def line_of(follower: Follower) -> Line:
    assert follower.line is not None
    return follower.line


def stands(follower: Follower) -> Traffic:
    """Whole: every version that the traffic names is loaded, and no other."""
    line = line_of(follower)
    traffic = line.traffic
    assert set(line.models) == {traffic.champion, traffic.challenger, traffic.standby} - {None}
    for version, model in line.models.items():
        assert model.version == version
        assert model.score(COLUMNS).shape == (3,)
    return traffic


def break_files(registry: Outage, version: ModelVersion) -> bytes:
    file = registry.folder(version) / BOOSTER_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    return whole


def test_the_champion_is_followed(registry: Outage, server: Server) -> None:
    follower = server.follower()
    follower.look()
    assert (follower.line, follower.ready) == (None, False)
    assert "a model must have a champion to be served" in str(follower.registry_trouble)
    one, two = release(registry, 0.1), release(registry, 0.9)
    promote(registry, one)
    follower.look()
    assert (stands(follower), follower.ready, follower.registry_trouble) == (Traffic(champion="1"), True, None)
    before = follower.line
    follower.look()
    assert follower.line is before, "nothing changed"
    promote(registry, two)
    follower.look()
    assert stands(follower) == Traffic(champion="2")
    assert (before.models["1"].score(COLUMNS) == trained(0.1).score_columns(COLUMNS)).all(), "who took it may use it"
    assert server.reader.read == ["1", "2"]


def test_a_rollout_loads_each_version_once_and_rolls_back_without_loading(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    release(registry, 0.9)
    follower = server.follower()
    for weight in (0.0, 0.05, 1.0):
        server.traffic = Traffic(champion="1", challenger="2", weight=weight, rollout="r")
        follower.look()
        assert stands(follower) == server.traffic
    server.traffic = Traffic(champion="2", standby="1", rollout="r")
    follower.look()
    assert stands(follower) == server.traffic
    server.traffic, registry.down = Traffic(champion="1"), True
    follower.look()
    assert stands(follower) == Traffic(champion="1"), "the way back needs no registry"
    assert server.reader.read == ["1", "2"]


def test_a_challenger_that_fails_does_not_hurt_the_champion(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    whole = break_files(registry, release(registry, 0.9))
    follower = server.follower()
    server.traffic = Traffic(champion="1", challenger="2", weight=0.5, rollout="r", standby="99")
    follower.look()
    assert stands(follower) == Traffic(champion="1"), "no rollout takes place here"
    broken, absent = follower.troubles
    assert (broken.version, broken.at, broken.passing) == ("2", server.clock.now(), False)
    assert "must be those that were validated" in broken.reason
    assert "must be registered to be served" in absent.reason
    (registry.folder(registry.versions("toy")[0]) / BOOSTER_FILE).write_bytes(whole)
    server.clock.forward(seconds=61)
    server.traffic = Traffic(champion="1", challenger="2", weight=0.5, rollout="r")
    follower.look()
    assert stands(follower) == server.traffic
    assert follower.troubles == ()


def test_a_bad_champion_never_takes_the_place_of_a_good_one(registry: Outage, server: Server) -> None:
    promote(registry, release(registry, 0.1))
    follower = server.follower()
    follower.look()
    before, bad = follower.line, release(registry, 0.9)
    document = registry.kept(bad, DOCUMENT)
    assert document is not None
    registry.keep(bad, DOCUMENT, document | {"scores": [0.123] * len(document["scores"])})
    promote(registry, bad)
    follower.look()
    assert follower.line is before
    (trouble,) = follower.troubles
    assert "must answer its golden probe" in trouble.reason
    assert follower.registry_trouble is None
    tries = len(server.reader.read)
    for _ in range(3):
        server.clock.forward(seconds=19)
        follower.look()
    assert len(server.reader.read) == tries, "not tried again within a minute"
    server.clock.forward(seconds=4)
    follower.look()
    assert len(server.reader.read) == tries + 1
    follower.look(anew=True)
    assert len(server.reader.read) == tries + 2, "unless somebody asks for it"
    registry.keep(bad, DOCUMENT, document)
    server.clock.forward(seconds=-3_600)
    follower.look()
    assert stands(follower) == Traffic(champion="2"), "a clock that was set back keeps nothing out"


def test_a_trial_that_is_over_ends_also_when_the_new_champion_is_bad(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    release(registry, 0.9)
    break_files(registry, release(registry, 0.5))
    follower = server.follower()
    server.traffic = Traffic(champion="1", challenger="2", weight=0.5, rollout="r")
    follower.look()
    server.traffic = Traffic(champion="3")
    follower.look()
    assert stands(follower) == Traffic(champion="1")
    server.traffic = Traffic(champion="3", challenger="2", weight=0.9, rollout="s")
    follower.look()
    assert stands(follower) == Traffic(champion="1"), "nor does another trial begin under the wrong champion"


def test_an_outage_changes_nothing_and_is_told(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    release(registry, 0.9)
    follower = server.follower()
    server.traffic = Traffic(champion="1")
    follower.look()
    before = follower.line
    server.traffic = LedgerError("the ledger must answer; received nothing. Start it.")
    follower.look()
    assert follower.line is before
    assert follower.registry_trouble == "the ledger must answer; received nothing. Start it."
    server.traffic = ConnectionResetError("by peer")
    follower.look()
    assert (follower.line, follower.registry_trouble) == (before, "ConnectionResetError: by peer")
    server.traffic, registry.down = Traffic(champion="2"), True
    follower.look()
    assert follower.line is before
    assert "the registry must answer" in str(follower.registry_trouble)
    registry.down = False
    follower.look()
    assert stands(follower) == Traffic(champion="2"), "what the registry is to blame for is tried at each look"
    assert (follower.registry_trouble, follower.troubles) == (None, ())


def test_a_start_without_the_registry_begins_where_the_last_one_ended(registry: Outage, server: Server) -> None:
    release(registry, 0.1)
    release(registry, 0.9)
    server.traffic = Traffic(champion="1", challenger="2", weight=0.25, rollout="r")
    server.follower().look()
    wanted, server.traffic, registry.down = server.traffic, LedgerError("down"), True
    again = server.follower()
    again.look()
    assert stands(again) == wanted
    assert again.registry_trouble == "down"
    (server.cache / "2" / BOOSTER_FILE).write_bytes(b"rubbish")
    third = server.follower()
    third.look()
    assert stands(third) == Traffic(champion="1"), "as far as there are good copies"
    (server.cache / "1" / BOOSTER_FILE).write_bytes(b"rubbish")
    fourth = server.follower()
    fourth.look()
    assert not fourth.ready
    server.traffic, registry.down = wanted, False
    fourth.look()
    assert stands(fourth) == wanted


def test_a_start_under_a_bad_champion_begins_with_the_last_good_one(registry: Outage, server: Server) -> None:
    promote(registry, release(registry, 0.1))
    server.follower().look()
    bad = release(registry, 0.9)
    break_files(registry, bad)
    promote(registry, bad)
    again = server.follower()
    again.look()
    assert stands(again) == Traffic(champion="1")
    assert [trouble.version for trouble in again.troubles] == ["2"]


@pytest.mark.parametrize("state", ["", "{", "[]", '{"champion": 1}', '{"weight": 1.0}', '{"champion": "1", "more": 1}'])
def test_a_state_that_says_nothing_is_passed_over(registry: Outage, server: Server, state: str) -> None:
    promote(registry, release(registry, 0.1))
    server.follower().look()
    (server.folder / "line.json").write_text(state)
    server.traffic = LedgerError("down")
    again = server.follower()
    again.look()
    assert again.line is None
    server.traffic = None
    again.look()
    assert stands(again) == Traffic(champion="1")
    assert json.loads((server.folder / "line.json").read_text())["champion"] == "1"


def test_a_state_that_cannot_be_written_is_told(registry: Outage, server: Server) -> None:
    one, two = release(registry, 0.1), release(registry, 0.9)
    promote(registry, one)
    (server.folder / "line.json").mkdir(parents=True)
    follower = server.follower()
    follower.look()
    assert stands(follower) == Traffic(champion="1")
    assert "who serves must be written down for the next start" in str(follower.state_trouble)
    (server.folder / "line.json").rmdir()
    promote(registry, two)
    follower.look()
    assert follower.state_trouble is None


def test_a_held_line_stays(registry: Outage, server: Server) -> None:
    one, two = release(registry, 0.1), release(registry, 0.9)
    promote(registry, one)
    follower = server.follower()
    follower.look()
    follower.pause()
    promote(registry, two)
    follower.look(anew=True)
    follower.reload()
    assert (stands(follower), follower.paused, follower.ready) == (Traffic(champion="1"), True, True)
    follower.resume()
    follower.look()
    assert (stands(follower), follower.paused) == (Traffic(champion="2"), False)


def test_a_pause_during_a_load_holds_the_old_line(registry: Outage, server: Server) -> None:
    one, two = release(registry, 0.1), release(registry, 0.9)
    promote(registry, one)
    loading, go_on = threading.Event(), threading.Event()
    read = server.reader

    class Slow:
        def __call__(self, folder: Path):
            if folder.name == "2":
                loading.set()
                assert go_on.wait(10)
            return read(folder)

    server.reader = Slow()  # type: ignore[assignment]
    follower = server.follower()
    follower.look()
    promote(registry, two)
    looking = threading.Thread(target=follower.look)
    looking.start()
    assert loading.wait(10)
    follower.pause()
    go_on.set()
    looking.join(10)
    assert stands(follower) == Traffic(champion="1")
    follower.resume()
    follower.look()
    assert stands(follower) == Traffic(champion="2")


def test_whatever_a_library_raises_the_follower_goes_on(registry: Outage, server: Server) -> None:
    promote(registry, release(registry, 0.1))
    follower = server.follower()
    good = follower._assembler.assemble
    follower._assembler.assemble = lambda *_, **__: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    follower.look()
    assert follower.line is None
    follower._assembler.assemble = good  # type: ignore[method-assign]
    follower.look()
    assert stands(follower) == Traffic(champion="1")
