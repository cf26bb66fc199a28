# Every target sets up ./.venv by itself: Python 3.10 or newer, git and make are all a machine needs.

PYTHON ?= python3
PYTEST ?= .venv/bin/python -m pytest
BENCHMARKS := $(filter-out __init__ harness curves,$(basename $(notdir $(wildcard benchmarks/*.py))))
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

demo: .venv/quickstart.stamp ## run a real sweep: 12 small classifiers, 2 at a time, less than a minute
	cd examples/quickstart && ../../.venv/bin/besom run sweep.yaml --workers 2 --new

test: .venv/dev.stamp ## run the tests
	$(PYTEST) -n auto --maxprocesses 8 --dist worksteal

lint: .venv/dev.stamp ## check style and the direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports

types: .venv/dev.stamp ## check types, with both checkers
	.venv/bin/mypy
	.venv/bin/pyright

bench: .venv/bench.stamp ## measure besom beside its peers
	set -e; for name in $(BENCHMARKS); do .venv/bin/python -m benchmarks.$$name; done

clean: ## remove the virtual environment and what tools have cached
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/quickstart.stamp: pyproject.toml constraints.txt | .venv/bin/python
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[quickstart]'
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/bench.stamp: pyproject.toml constraints.txt | .venv/bin/python
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@
