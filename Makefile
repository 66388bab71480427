# Coterie's commands for who works on it. Everything is installed into .venv from requirements.lock; the second run of
# a command installs nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SEEDS ?= 1000
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# pyright and its node both come from requirements.lock: no look at the network for newer ones
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help install demo test lint format types check coverage bench simulate lock clean

help: ## Shows this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Installs into .venv alone
	@echo "Installed: $(BIN)/coterie"

demo: $(INSTALLED) ## Three peers run a workflow; one of them is killed in the middle
	@$(BIN)/python tests/testnet/demo.py

test: lint types check ## Everything that must hold: lint, types, all tests

lint: $(INSTALLED) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## Lets ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(INSTALLED) ## mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

check: $(INSTALLED) ## All tests
	$(BIN)/python -m pytest -q

coverage: $(INSTALLED) ## All tests, and which lines they leave out
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage report --skip-covered --show-missing

bench: $(INSTALLED) ## Measures what README.md promises, on this machine
	$(BIN)/python tests/bench/run.py

simulate: $(INSTALLED) ## The swarm under a virtual clock: make simulate SEEDS=1000
	$(BIN)/python tests/simulation/night.py --seeds $(SEEDS)

lock: $(INSTALLED) ## Renews requirements.lock for Python 3.11 to 3.13
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --no-emit-index-url --custom-compile-command 'make lock' --upgrade --quiet -o requirements.lock

clean: ## Removes everything that these commands made
	rm -rf $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements.lock pyproject.toml .ci/prepare
	@python=$$(.ci/prepare); \
	$(BIN)/python -c 'import pip' 2>/dev/null || "$$python" -m venv --clear $(VENV)
	@echo "Installing what requirements.lock names into $(VENV) (about a minute the first time) ..."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@# libp2p brings trio-typing, whose stubs describe a trio of 2023 and would hide trio's own types
	@rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs
	@touch $@
