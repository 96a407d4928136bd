# Plain "make" lists the targets. Every target makes .venv by itself where it is missing.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/ready
NOTEBOOKS_GO ?= --inplace

# What make size allows: lines, docstrings and blank ones included, of src, of tests and of a file in src.
MAX_SRC := 8400
MAX_TESTS := 9000
MAX_FILE := 260

.PHONY: help setup train test test-all lint format typecheck size notebooks docs clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,detect,export,dev,docs]'
	@touch $@

setup: $(STAMP) ## make .venv with the pinned versions

train: $(STAMP) ## train on rendered faces, 2 to 5 minutes on 2 CPU cores
	$(BIN)/python src/train.py experiment=quickstart

test: $(STAMP) ## run the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n 2 --dist worksteal

test-all: $(STAMP) ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: $(STAMP) ## check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(STAMP) ## check the types
	$(BIN)/mypy

size: ## check how many lines there are
	@fail=0; \
	check() { echo "$$1: $$2 lines of $$3"; [ "$$2" -le "$$3" ] || fail=1; }; \
	check src "$$(find src -name '*.py' -exec cat {} + | wc -l)" $(MAX_SRC); \
	check tests "$$(find tests -name '*.py' -exec cat {} + | wc -l)" $(MAX_TESTS); \
	for file in $$(find src -name '*.py'); do \
		lines=$$(wc -l < "$$file"); [ "$$lines" -le $(MAX_FILE) ] || check "$$file" "$$lines" $(MAX_FILE); \
	done; \
	[ $$fail = 0 ] || { echo "too long: take out what nobody needs, or split a file by subject"; exit 1; }

notebooks: $(STAMP) ## run the notebooks in place, about 3 minutes of CPU time
	OMP_NUM_THREADS=1 $(BIN)/jupyter nbconvert --to notebook --execute --ExecutePreprocessor.record_timing=False \
		$(NOTEBOOKS_GO) notebooks/*.ipynb

docs: $(STAMP) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove .venv, site and caches; runs and data stay
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
