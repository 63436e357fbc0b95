"""The shape of the house: who imports whom, how large a file or a function may be, how things are named."""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfheal_assets.project import PROJECT

PACKAGE = PROJECT / "selfheal_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
each_module = pytest.mark.parametrize("path", MODULES, ids=IDS)

LONGEST_FILE = 300
MEDIAN_FILE = 110
LONGEST_FUNCTION = 40
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc)($|_)")
PURE = {"numpy", "scipy", "annotated_types", "selfheal_assets"} | sys.stdlib_module_names
HEAVY = {
    "alibi_detect",
    "dask",
    "distributed",
    "duckdb",
    "feast",
    "great_expectations",
    "matplotlib",
    "mlflow",
    "optuna",
    "pandas",
    "pyarrow",
    "sklearn",
    "transformers",
    "xgboost",
}


def test_imports_point_inward() -> None:
    """import-linter's contracts in pyproject.toml."""
    lint = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([lint, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout
    assert " 0 broken" in ended.stdout


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The top-level packages that the statements import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(str(node.module).split(".")[0])
    return found


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not what is in a function, nor what is for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


@each_module
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    assert imported(at_import(TREES[path])).isdisjoint(HEAVY)


@pytest.mark.parametrize("path", [path for path in MODULES if path.is_relative_to(PACKAGE / "core")], ids=str)
def test_the_core_is_pure(path: Path) -> None:
    """Neither a framework nor a clock, nor chance without a seed, nor a file."""
    tree = TREES[path]
    packages = imported(ast.walk(tree))
    assert packages <= PURE
    assert packages.isdisjoint({"os", "pathlib", "random", "secrets", "socket", "subprocess", "time", "uuid"})
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    clocks = re.compile(r"(datetime|date)\.(now|today|utcnow)$|^open$")
    assert not [call for call in calls if clocks.search(call)]
    assert "np.random.default_rng()" not in ast.unparse(tree)


@each_module
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_the_usual_file_is_shorter() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES]
    assert statistics.median(length for length in lengths if length) <= MEDIAN_FILE


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """From `def` to the end, without the docstrings, the blank lines and the comments."""
    documented = set[int]()
    for node in ast.walk(function):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    texts = [source[line - 1].strip() for line in lines if line not in documented]
    return sum(bool(text) and not text.startswith("#") for text in texts)


@each_module
def test_functions_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8").splitlines()
    functions = [n for n in ast.walk(TREES[path]) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {function.name: lines_of_code(function, source) for function in functions}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}


def test_lines_of_code_are_counted_right() -> None:
    text = 'def f():\n    """Doc.\n\n    More.\n    """\n    # why\n\n    return (\n        1\n    )\n'
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert lines_of_code(function, text.splitlines()) == 4


@each_module
def test_a_module_begins_with_what_it_does(path: Path) -> None:
    """One line: verb, what comes in, what goes out. An empty __init__.py says nothing."""
    if not path.read_text(encoding="utf-8").strip():
        assert path.name == "__init__.py"
        return
    docstring = ast.get_docstring(TREES[path])
    assert docstring, "a module must have a docstring"
    first, *more = docstring.splitlines()
    assert first.endswith("."), first
    assert not more or not more[0], "one line, then a blank one"


@each_module
def test_names_say_what_is_in_them(path: Path) -> None:
    for name in (path.stem, path.parent.name):
        assert not BANNED_NAMES.search(name), name
    classes = [node.name for node in ast.walk(TREES[path]) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if re.search(r"(Utils?|Helpers?|Manager)$", name)]


@each_module
def test_errors_are_of_the_one_tree(path: Path) -> None:
    """Nothing but core/errors.py defines an exception."""
    if path == PACKAGE / "core" / "errors.py":
        return
    bases = {
        ast.unparse(base) for node in ast.walk(TREES[path]) if isinstance(node, ast.ClassDef) for base in node.bases
    }
    assert not {base for base in bases if re.search(r"(Error|Exception)$", base)}
