# Everything that a developer or a user runs. `demo`, `up` and `test` set up their own .venv from the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export DO_NOT_TRACK := 1

.PHONY: help demo up test lint bench lock clean

help:
	@echo "make demo    watch selfheal heal: a scripted world on a real Dagster instance (5 minutes)"
	@echo "make up      start Dagster with simulated traffic, and stay"
	@echo "make test    the tests          make lint    ruff, mypy, import-linter"
	@echo "make bench   the benchmarks     make lock    renew requirements.lock     make clean"

# No index is named: pip's own configuration says where packages come from. --no-deps: the lock is complete, and it
# overrides pins of alibi-detect that pip would refuse (see requirements.overrides.txt).
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 13) else "Python 3.11 or 3.12 is needed; this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/selfheal demo $(ARGS)

up: $(STAMP)
	$(BIN)/selfheal up $(ARGS)

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m "not slow" $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python benchmarks/heal_cycle.py
	$(BIN)/python benchmarks/ingest.py

# Needs uv (`pip install uv`); the lock has hashes and no index address, and installs with plain pip as well.
lock:
	uv pip compile pyproject.toml --extra alibi --extra dev --override requirements.overrides.txt \
		--generate-hashes --universal --fork-strategy fewest --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) .selfheal .selfheal-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
