"""Feast is imported without compiled-in argument checks in a run, and with them where declarations are read."""

import os
import subprocess
import sys

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PROMETHEUS")}
"""Of this process: another test may have imported Feast as it is."""
ASK = """
import sys, typeguard
before = typeguard.typechecked
{how}
from feast import ValueType, Entity
assert typeguard.typechecked is before
try:
    Entity(name="account", value_type="not a value type")
except typeguard.TypeCheckError:
    print("checked")
else:
    print("not checked")
"""


def answer(how: str) -> str:
    command = [sys.executable, "-c", ASK.format(how=how)]
    finished = subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_only_the_plain_import_checks_arguments() -> None:
    ours = "from selfheal_assets.adapters.feast_import import import_feast; import_feast(); import_feast()"
    assert answer("import feast") == "checked"
    assert answer(ours) == "not checked"
    assert answer(f"import feast; {ours}") == "checked"


def test_it_leaves_neither_a_folder_nor_a_variable_behind() -> None:
    """Feast's own counters would be kept in a temporary folder, and those of a model server with them."""
    ask = """
import os, sys
from selfheal_assets.adapters.feast_import import import_feast
import_feast()
from feast import metrics
assert not os.path.exists(metrics._prometheus_mp_dir)
print([name for name in os.environ if "PROMETHEUS" in name])
"""
    finished = subprocess.run([sys.executable, "-c", ask], env=CLEAN, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
