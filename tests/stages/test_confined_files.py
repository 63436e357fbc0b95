"""In production a person who may launch runs has no file read but those of the home, however it is named."""

from pathlib import Path

import pytest

from selfheal_assets.project import may_read


def test_only_files_of_the_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    secret, own, link = tmp_path / "secret.csv", home / "repaired.csv", home / "link.csv"
    secret.touch()
    own.touch()
    link.symlink_to(secret)
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    assert may_read(secret)
    monkeypatch.setenv("SELFHEAL_ENV", "production")
    assert may_read(own)
    for file in (secret, link, home / ".." / "secret.csv", Path("/etc/passwd")):
        assert not may_read(file)
