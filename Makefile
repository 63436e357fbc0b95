# Everything that a developer or a user runs. `demo`, `up` and `test` set up their own .venv from the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export DO_NOT_TRACK := 1

.PHONY: help demo up test lint bench lock audit sbom manifests images kind clean

help:
	@echo "make demo    watch selfheal heal: a scripted world on a real Dagster instance (5 minutes)"
	@echo "make up      start Dagster with simulated traffic, and stay"
	@echo "make test    the tests          make lint    ruff, mypy, import-linter"
	@echo "make bench   the benchmarks     make lock    renew the locks             make clean"
	@echo "make audit   known vulnerabilities of the locks      make sbom    what the images are made of"
	@echo "make images  build both         make kind    all of it on this machine's kind     make manifests"

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
	uv pip compile pyproject.toml --extra alibi --override requirements.overrides.txt --constraint requirements.lock \
		--generate-hashes --universal --fork-strategy fewest --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" --quiet --output-file requirements-image.lock
	uv pip compile --group pyproject.toml:serving --override requirements.overrides.txt --constraint requirements.lock \
		--generate-hashes --universal --fork-strategy fewest --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make lock" --quiet --output-file requirements-serving.lock

# The tools have an environment of their own: what is audited does not have to agree with them.
AUDIT := .venv-audit
$(AUDIT)/.installed: Makefile
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

# Exceptions, with their dates, stand in deployment/security/exceptions.toml.
audit: $(AUDIT)/.installed
	$(AUDIT)/bin/python deployment/security/audit.py $(ARGS) requirements.lock requirements-serving.lock

sbom: $(AUDIT)/.installed
	$(AUDIT)/bin/cyclonedx-py requirements requirements-image.lock --pyproject pyproject.toml \
		--output-reproducible --output-file sbom-selfheal.json
	$(AUDIT)/bin/cyclonedx-py requirements requirements-serving.lock --pyproject pyproject.toml \
		--output-reproducible --output-file sbom-serving.json

manifests:
	for overlay in small production; do \
		kubectl kustomize deployment/kubernetes/overlays/$$overlay > deployment/kubernetes/rendered/$$overlay.yaml || exit 1; \
	done

images:
	docker build --file deployment/images/Dockerfile --target selfheal --tag selfheal:0.1.0 .
	docker build --file deployment/images/Dockerfile --target serving --tag selfheal-serving:0.1.0 .

kind: images
	deployment/kind/up.sh

clean:
	rm -rf $(VENV) $(AUDIT) sbom-*.json .selfheal .selfheal-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
