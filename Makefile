# mlpfit: `make` lists the targets. Every target sets up what it needs.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# An environment holds absolute paths: in a checkout that was moved it is made anew.
MOVED := $(shell test -f $(INSTALLED) && test ! -L .venv && test "$$(cat $(INSTALLED))" != "$$(pwd -P)" && rm $(INSTALLED) && echo yes)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Of antlr4-python3-runtime there is no wheel.
LOCKED := --require-hashes --no-deps --only-binary :all: --no-binary antlr4-python3-runtime
TUTORIALS := $(notdir $(wildcard conf/experiment/*))
EXAMPLES := $(notdir $(patsubst %/conf,%,$(wildcard examples/*/conf)))
SPACE := $(subst ,, )
SWEEPS := $(patsubst conf/sweep/%.yaml,%,$(wildcard conf/sweep/*/*.yaml))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install reproduce ensembles evidence examples sweeps $(SWEEPS) figures report playground $(TUTORIALS) test test-slow test-launchers lint format tensorboard tour verify portable torture bench clean distclean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z$$()A-Z\/%. -]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sed -e 's/$$(TUTORIALS)/tower, plane, .../' -e 's|$$(SWEEPS)|parabola/hidden_units...|'

install: $(INSTALLED) ## create .venv from the lock files

$(INSTALLED): requirements.lock requirements-torch.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "mlpfit needs Python 3.11, 3.12 or 3.13: install one or say make PYTHON=..."; exit 1; }
	@$(if $(MOVED),echo "this checkout was moved or updated: its .venv is made anew";) echo "setting up .venv from the lock files: first uv, which is quick, a hundred packages, then torch"
	@$(PYTHON) -m venv $(if $(MOVED),--clear) .venv
	@sed -n '/^uv==/,/[^\]$$/p' requirements.lock > .venv/uv.lock
	@sed '/^uv==/,/[^\]$$/d' requirements.lock > .venv/packages.lock
	@{ $(PIP) $(LOCKED) -r .venv/uv.lock && $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python $(LOCKED) -r .venv/packages.lock; } || \
	{ echo "without uv: pip installs them, which takes minutes"; $(PIP) $(LOCKED) -r .venv/packages.lock; }
	@echo "torch and mlpfit, a minute or two ..."
	@$(PIP) --no-build-isolation --only-binary :all: -r requirements-torch.lock -e .
	@$(BIN)/python -m compileall -q src  # as pip does for packages, also where Python writes no bytecode
	@pwd -P > $@

reproduce: $(INSTALLED) ## train every experiment, draw every figure, print the table
	@$(BIN)/python -m mlpfit reproduce

ensembles: $(INSTALLED) ## every experiment over 1000 to 20000 seeds
	@$(BIN)/python -m mlpfit ensembles

evidence: $(INSTALLED) ## other recipes, for power, assumptions and sensitivity (after ensembles)
	@$(BIN)/python -m mlpfit ensembles --variants

examples: $(INSTALLED) ## the pages of examples/ over 1000 seeds each, judged: examples/outputs
	@cd examples && for step in reproduce ensembles figures ledger report; do \
	MLPFIT_PATH=$(subst $(SPACE),:,$(EXAMPLES)) ../$(BIN)/python -m mlpfit $$step $(EXAMPLES) || exit; done

sweeps: $(SWEEPS) ## every ready sweep, 64 replicas a job (a minute or two)

$(SWEEPS): $(INSTALLED) ## one ready sweep
	@$(BIN)/python -m mlpfit -m sweep=$@

figures: $(INSTALLED) ## draw the figures again from finished runs
	@$(BIN)/python -m mlpfit figures

$(TUTORIALS): $(INSTALLED) ## one tutorial: its runs and figures
	@$(BIN)/python -m mlpfit reproduce $@

outputs/figures/%.svg: FORCE $(INSTALLED) ## one figure and the run it needs
	@$(BIN)/python -m mlpfit reproduce $*

# Bytecode of the tests is kept, also where the environment asks for none: else they are compiled each time.
test test-slow test-launchers: export PYTHONDONTWRITEBYTECODE :=

test: $(INSTALLED) ## run the tests
	@$(BIN)/python -m pytest

test-slow: $(INSTALLED) ## the tests that take half a minute each, and a few trials of every promise
	@$(BIN)/python -m pytest -m slow

test-launchers: $(INSTALLED) ## Hydra's own suites of launchers; the same bits through joblib, submitit, Ray (installs them)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check hydra-submitit-launcher==1.2.0 hydra-ray-launcher==1.2.2 hydra-joblib-launcher==1.2.0
	@$(BIN)/python -m pytest -m "slow or not slow" tests/plugins tests/sweeps/test_launchers.py

lint: $(INSTALLED) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(INSTALLED) ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

tensorboard: $(INSTALLED) ## open TensorBoard on all runs, ensembles and sweeps
	@$(BIN)/python -m mlpfit tensorboard

report: $(INSTALLED) ## judge the published numbers and write outputs/report.html (after reproduce and ensembles)
	@$(BIN)/python -m mlpfit report --judge

playground: $(INSTALLED) ## outputs/playground.html: train a net live beside the evidence (after report)
	@if ! command -v npm >/dev/null; then echo "no node here: the page is taken as it was built, from src/mlpfit/report"; \
	elif (cd src/playground && npm ci --silent --no-audit --no-fund && npm run --silent build); then :; \
	else echo "npm failed: the page is taken as it was built, from src/mlpfit/report"; fi
	@$(BIN)/python -m mlpfit playground

tour: $(INSTALLED) ## run notebooks/tour.ipynb and keep what it shows
	@$(BIN)/python tests/report/tour.py

verify: $(INSTALLED) ## train everything again, compare it bit by bit with what is kept (ENSEMBLES=1: the ledger, too)
	@$(BIN)/python -m mlpfit verify $(if $(filter 1,$(ENSEMBLES)),--ensembles)

portable: $(INSTALLED) ## compute as on other processors, compare the bits (FULL=1: emulated ones, too)
	@$(BIN)/python tests/portable $(if $(FULL),--full)

torture: $(INSTALLED) ## kill, damage and misuse everything a few hundred times (half an hour)
	@$(BIN)/python tests/torture

bench: $(INSTALLED) ## measure speed against the plain loop and the Trainer's defaults (QUICK=1: a quarter of an hour)
	@$(BIN)/python -c 'import jax' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'jax==0.10.2'
	@$(BIN)/python tests/bench $(if $(QUICK),--quick)

clean: ## remove the runs; what mlpfit did not write stays
	@test ! -d outputs || test ! -x $(BIN)/python || $(BIN)/python -m mlpfit clean

distclean: clean ## remove the environment that make install made, and the tools' caches, too
	@test ! -f $(INSTALLED) || test -L .venv || rm -rf .venv
	@for cache in .pytest_cache .mypy_cache .ruff_cache; do \
	test ! -f $$cache/CACHEDIR.TAG || test -L $$cache || rm -rf $$cache; done

FORCE:
