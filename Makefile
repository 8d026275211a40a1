# The same commands for people and for CI. Each sets up what it needs; nothing else is activated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs bench calibration accuracy clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "tokenroof needs Python 3.11 or newer, this is %d.%d; try make PYTHON=python3.12" % v[:2] or 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

setup: $(STAMP)  ## virtual environment with pinned dependencies

demo: $(STAMP)  ## the main job on real input; prints where the report is
	rm -rf out/demo
	$(BIN)/tokenroof plan examples/plan-azure-chat.yaml --out out/demo

test: $(STAMP)  ## the whole suite
	$(BIN)/python -m pytest -n $(WORKERS)

check: $(STAMP)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)  ## rebuild every generated page
	$(BIN)/python scripts/build_docs.py

bench: $(STAMP)  ## speed, printed as a table
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/planning.py

calibration: $(STAMP)  ## refit every shipped parameter to the measurements in calibration/
	$(BIN)/python scripts/calibrate_shipped.py --workers $(WORKERS)
	$(BIN)/python scripts/fit_intervals.py --predict --no-coverage --workers $(WORKERS)
	$(MAKE) accuracy

accuracy: $(STAMP)  ## simulate every measured serving again; docs/accuracy.md
	$(BIN)/python scripts/predict_validation.py --workers $(WORKERS)
	$(BIN)/python scripts/accuracy_page.py

clean:  ## forget the environment and the outputs
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis
