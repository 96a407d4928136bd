# Plain "make" lists the targets. Every target makes .venv by itself where it is missing.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/ready
NOTEBOOKS_GO ?= --inplace

.PHONY: help setup train test test-all lint format typecheck notebooks clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,detect,export,dev]'
	@touch $@

setup: $(STAMP) ## make .venv with the pinned versions

train: $(STAMP) ## train on rendered faces, 2 to 5 minutes on 2 CPU cores
	$(BIN)/python src/train.py experiment=quickstart

test: $(STAMP) ## run the fast tests
	$(BIN)/python -m pytest -m 'not slow' -n 2

test-all: $(STAMP) ## run all tests
	$(BIN)/python -m pytest

lint: $(STAMP) ## check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(STAMP) ## check the types
	$(BIN)/mypy

notebooks: $(STAMP) ## run the notebooks in place, about 2 minutes of CPU time
	$(BIN)/jupyter nbconvert --to notebook --execute --ExecutePreprocessor.record_timing=False \
		$(NOTEBOOKS_GO) notebooks/*.ipynb

clean: ## remove .venv and caches; runs and data stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
