# The two commands of the README set up all they need: Python 3.11 and make are enough.
.DEFAULT_GOAL := help
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := --extra local --extra analysis --extra jobs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
STAMP := $(VENV)/.synced
# Images of containers like to set it, and then every emrctl compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE
# One more than there are cores: many tests wait for a process that they have begun.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))

.PHONY: help setup quickstart check engine test test-unit test-yarn test-engine finding-logs bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t16

setup: $(STAMP) ## make the virtual environment from the lock file

$(STAMP): pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --inexact $(EXTRAS)
	@touch $@

quickstart: $(STAMP) ## the main job on the embedded default, start to end
	@$(BIN)/python examples/quickstart.py

check: $(STAMP) ## lint, format and types
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/shellcheck bootstrap/*.sh .ci/run

engine: $(STAMP) ## the real Pulumi engine for the tests: pulumi on PATH, else built once by go
	@$(BIN)/python -m tests.engine.build

# One run for each kind: a YARN, a SparkSession and the real engine never share a machine's memory.
test: check engine ## everything that needs neither AWS nor a GPU
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m "not yarn and not spark and not engine"
	$(BIN)/pytest -q -m engine
	$(BIN)/pytest -q -m spark
	$(BIN)/pytest -q -m yarn

test-unit: $(STAMP) ## the tests that need no Java
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m "not yarn and not spark and not engine"

test-yarn: $(STAMP) ## the tests against the emulator with a real YARN
	$(BIN)/pytest -q -m yarn

test-engine: engine ## what the real Pulumi engine does; fails where it did not run
	$(BIN)/pytest -q -m engine

finding-logs: $(STAMP) ## record the logs that the findings' tests replay; KINDS="gc spill" for some
	$(BIN)/python tests/metrics/findings/record.py $(KINDS)

bench: $(STAMP) ## our speed beside our peers', ratios printed
	@for file in bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean: ## take the virtual environment and caches away
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
