# Every target installs its requirements: Python 3.11 and make are enough.
.DEFAULT_GOAL := help
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := --extra local --extra analysis --extra jobs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
STAMP := $(VENV)/.synced
# Container images often set it; then every command recompiles its imports.
unexport PYTHONDONTWRITEBYTECODE
# Cores + 1: many tests wait for a subprocess.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
UNIT := "not yarn and not spark and not engine and not browser"
BROWSER = VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/python -m tests.browser.install

.PHONY: help setup quickstart check engine test test-unit test-browser test-yarn test-engine finding-logs failure-causes mutants experiment-kills faults load soak predict-logs sbom audit bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t16

setup: $(STAMP) ## create the virtual environment from the lock file

$(STAMP): pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --inexact $(EXTRAS)
	@touch $@

quickstart: $(STAMP) ## run a whole session on localhost
	@$(BIN)/python examples/quickstart.py

check: $(STAMP) ## check lint, format and types
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/shellcheck bootstrap/*.sh .ci/run

engine: $(STAMP) ## provide the Pulumi engine for tests: from PATH, or built with go
	@$(BIN)/python -m tests.engine.build

# One pytest run per marker: YARN, SparkSession and Pulumi engine do not fit in memory together.
# Without Chromium the tests of pages are not run, which is reported; if they run, they must pass.
# The engine is built beside the checks and unit tests, which leave cores idle.
test: $(STAMP) ## run all checks and tests that need neither AWS nor a GPU
	@nice $(MAKE) --silent engine & $(MAKE) --no-print-directory check test-unit; code=$$?; wait; exit $$code
	@$(MAKE) --silent engine
	@if $(BROWSER); then $(BIN)/pytest -q tests/browser; else echo "NOT RUN: the tests of pages, without Chromium"; fi
	$(BIN)/pytest -q -m engine
	$(BIN)/pytest -q -m spark
	$(BIN)/pytest -q -m yarn

test-unit: $(STAMP) ## run the tests that need no Java
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m $(UNIT)

test-browser: $(STAMP) ## run the tests of pages in Chromium; installs it with Playwright if missing
	$(BROWSER)
	$(BIN)/pytest -q tests/browser

test-yarn: $(STAMP) ## run the tests with a real YARN
	$(BIN)/pytest -q -m yarn

test-engine: engine ## run the tests with the Pulumi engine; fails if it is not available
	$(BIN)/pytest -q -m engine

finding-logs: $(STAMP) ## record event logs for the tests of findings, e.g. KINDS="gc spill"
	$(BIN)/python tests/metrics/findings/record.py $(KINDS)

failure-causes: $(STAMP) ## run failing jobs, print the causes named, e.g. CASES="ec2 udf"
	$(BIN)/python -m tests.runs.failures.record $(CASES)

mutants: $(STAMP) ## change one operator of a core module at a time, e.g. ARGS="--count 200"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --inexact --only-group mutants
	$(BIN)/python -m scripts.mutants $(ARGS)

experiment-kills: $(STAMP) ## kill the client of 500 trials ten times, check that none is lost or repeated
	@folder=$$(mktemp -d) && $(BIN)/python -m tests.runs.killed_clients $$folder && rm -rf $$folder

faults: $(STAMP) ## kill, stop and starve clients at each request and write, e.g. ONLY="kill up" POINTS=20
	@folder=$$(mktemp -d) && $(BIN)/python -m tests.faults $$folder --only "$(ONLY)" --points $(or $(POINTS),0) && rm -rf $$folder

load: $(STAMP) ## submit 1,000 runs, read 10,000, logs of 1 GB, 100 steps; print times and memory, e.g. ONLY=store
	@folder=$$(mktemp -d) && $(BIN)/python -m tests.faults.load $$folder --only "$(ONLY)" && rm -rf $$folder

soak: $(STAMP) ## run random operations, with checks after each, for MINUTES=120
	@folder=$$(mktemp -d) && $(BIN)/python -m tests.faults.soak $$folder --minutes $(or $(MINUTES),120) && rm -rf $$folder

predict-logs: $(STAMP) ## record event logs for bench_predict.py, on a quiet machine (30 minutes)
	$(BIN)/python bench/record_predict.py .cache/predict-logs

sbom: $(STAMP) ## write the software bill of materials to sbom.json
	$(BIN)/python -m scripts.sbom sbom.json

audit: $(STAMP) ## look for known vulnerabilities of the locked packages; needs the OSV database
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv audit --frozen

bench: $(STAMP) ## run benchmarks against peers and print the ratios
	@for file in bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean: ## delete the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
