"""The README stays true: every command in its code blocks is run here, or named with the place that runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ELSEWHERE = {
    "make demo": "tests/e2e/test_demo.py",
    "make test": ".ci/run",
}


def commands() -> list[str]:
    """The lines of the blocks that name no language."""
    found, language = list[str](), None
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language == "" and line.strip():
            found.append(line)
    return found


def test_every_file_that_the_documents_name_is_there() -> None:
    for document in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")):
        links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        missing = [link for link in links if not (document.parent / link).exists()]
        assert not missing, f"{document.relative_to(ROOT)} names {missing}"


def test_the_commands_run_elsewhere_are_run_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command, place in ELSEWHERE.items():
        assert command in commands()
        target = command.removeprefix("make ")
        recipe = re.search(rf"^{target}:.*\n\t(.+)$", makefile, re.M)
        assert recipe is not None
        text = (ROOT / place).read_text(encoding="utf-8")
        assert command in text or all(word in text for word in ("selfheal", '"demo"'))


@pytest.mark.timeout(240)
def test_every_other_command_of_the_readme_succeeds(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SELFHEAL", "DAGSTER"))}
    environment["SELFHEAL_HOME"] = str(tmp_path / "home")
    mine = [command for command in commands() if command not in ELSEWHERE]
    assert len(mine) >= 5
    for command in mine:
        finished = subprocess.run(
            ["bash", "-c", command.replace(".venv/bin/", f"{BIN}/")],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout[-1500:]}{finished.stderr[-1500:]}"
