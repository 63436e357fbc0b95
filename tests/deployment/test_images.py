"""The images as far as they can be told without a builder: what they copy, install, run as, and how large they are."""

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from selfheal_assets.project import PROJECT

DOCKERFILE = (PROJECT / "deployment" / "images" / "Dockerfile").read_text(encoding="utf-8")
JOINED = re.sub(r"\\\n", " ", DOCKERFILE)
STAGES = {stage.split("\n")[0].split(" AS ")[1]: stage for stage in re.split(r"(?m)^FROM ", JOINED)[1:]}
RUN = ("final", "serving", "selfheal")
"""The stages of which the images are made."""
MEGABYTE = 1e6
LIMITS = {"requirements-image.lock": 1_900, "requirements-serving.lock": 800}
"""Megabytes of installed packages, not counting what they compile to."""
MEASURED = {
    "xgboost-cpu": 19.0,
    "aiobotocore": 1.0,
    "boto3": 1.5,
    "botocore": 29.0,
    "s3transfer": 0.7,
    "hiredis": 0.6,
    "redis": 3.0,
}
"""Of those that the development environment need not have."""
TRAINS = re.compile(r"^(dagster.*|optuna|alibi-detect|great-expectations|river|matplotlib|scikit-learn|kubernetes)$")


def locked(name: str) -> dict[str, str]:
    """Versions by package."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", text))


def megabytes(package: str) -> float:
    """As its RECORD says; 0 for what another platform alone needs."""
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError:
        return MEASURED.get(package, 0.0)
    return sum(file.size or 0 for file in files) / MEGABYTE


@pytest.mark.parametrize("lock", LIMITS)
def test_the_packages_stay_within_their_size(lock: str) -> None:
    sizes = {package: megabytes(package) for package in locked(lock)}
    total, largest = sum(sizes.values()), sorted(sizes.items(), key=lambda item: -item[1])[:5]
    print(f"{lock}: {total:.0f} MB, of which {', '.join(f'{name} {size:.0f}' for name, size in largest)}")
    assert 0.5 * LIMITS[lock] < total < LIMITS[lock]


def test_the_locks_agree_and_name_no_index() -> None:
    everything, image, served = (
        locked(name) for name in ("requirements.lock", "requirements-image.lock", "requirements-serving.lock")
    )
    assert image.items() <= everything.items()
    assert {name: version for name, version in served.items() if everything.get(name, version) != version} == {}
    assert not {"pytest", "ruff", "hypothesis", "kubernetes-validate"} & set(image)
    assert not [name for name in served if TRAINS.match(name)]
    assert {"xgboost-cpu", "mlflow-skinny", "fastapi"} <= set(served)
    for name in LIMITS:
        assert "://" not in re.sub(r"(?m)^ *#.*", "", (PROJECT / name).read_text(encoding="utf-8"))


def test_what_runs_has_no_tools_no_root_and_a_health_check() -> None:
    for name in ("serving", "selfheal"):
        assert re.search(r"(?m)^USER 10001:10001$", STAGES[name])
        assert "HEALTHCHECK" in STAGES[name]
        assert STAGES[name].startswith("final AS")
        assert STAGES[name].index("COPY") < STAGES[name].index("USER"), "what it runs it cannot change"
    for name in RUN:
        assert "pip install" not in STAGES[name]
        assert "--chown" not in STAGES[name]
    assert "pip uninstall" in STAGES["final"]
    assert STAGES["final"].startswith("${BASE}")
    assert not re.search(r"build-essential|gcc|curl|git", STAGES["final"])


def test_every_package_has_a_hash_and_is_a_wheel() -> None:
    installs = re.findall(r"install --no-deps[^\n]*", JOINED)
    assert len(installs) == len(LIMITS)
    assert all("--require-hashes" in line and "--only-binary=:all:" in line for line in installs)


def test_what_is_copied_stands_and_reaches_the_builder() -> None:
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = [words.split()[1:-1] for words in re.findall(r"(?m)^COPY (?!--from).*", JOINED)]
    sources = {source for one in copied for source in one}
    assert sources == allowed
    assert all((PROJECT / source).exists() for source in sources)


def test_the_parts_that_the_code_looks_for_stand_beside_it() -> None:
    """`project.PROJECT` is the folder above the package."""
    assert {"feature_repo", "dbt_like_checks", "deployment/dagster", "selfheal_assets"} <= set(
        STAGES["project"].split()
    )
    assert "PYTHONPATH=/opt/selfheal" in STAGES["final"]
