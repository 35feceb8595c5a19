# Two commands do everything: `make run` (the main job: paper trading) and `make test` (every check and test).
# Both make their own virtual environment first; nothing else needs to be installed but Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
KILLS ?= 500
ROUNDS ?= 100
SECONDS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# The peers pin older versions of what we use (uvloop, yarl), so the benchmark has an environment of its own.
BENCH_VENV ?= .venv-bench
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location

.DEFAULT_GOAL := help
.PHONY: help run demo-live test lint bench soak soak-orders killsweep fencing faults backup-drill clean systemd-lab bench-surface api-contract api-reference screens charts browser-hour

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.run ## Start paper trading; options in ARGS, such as ARGS="--for 60 --json"
	@$(BIN)/arbitrage demo $(ARGS)

demo-live: $(VENV)/.run ## Place real signed orders at simulated exchanges: one completes, then a second leg is refused and recovered
	@$(BIN)/arbitrage demo --live $(ARGS)

test: $(VENV)/.dev lint ## Run every check and test
	@scripts/test_packages.sh chromium chromedriver
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/run_tests.py

lint: $(VENV)/.dev ## Style, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >$(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; exit 1; }

bench: $(BENCH_VENV)/.bench $(VENV)/.run ## Measure the hot path beside ccxt.pro and cryptofeed; options in ARGS, such as ARGS="--quick --json"
	@$(BENCH_VENV)/bin/python scripts/bench/main.py --run-python $(abspath $(BIN))/python $(ARGS)

soak-orders: $(VENV)/.dev ## 1,000 seeded storms of lost and ambiguous answers a venue; options in ARGS, such as ARGS="--venue upbit --first 7"
	@$(BIN)/python tests/integration/soak_orders.py $(ARGS)

soak: $(VENV)/.run ## Live simulated lives until stopped, each out of a seed; SECONDS=600 ends it, options in ARGS, such as ARGS="--keep FILE"
	@$(BIN)/arbitrage simulate --soak $(SECONDS) --start -1 --jobs $(JOBS) $(ARGS)

killsweep: $(VENV)/.dev ## Kill the daemon KILLS times (500), compare with the exchanges' truth each tenth; options in ARGS, such as ARGS="--seed 7"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/reliability/killsweep.py --kills $(KILLS) $(ARGS)

fencing: $(VENV)/.dev ## Lose the daemon that trades ROUNDS times (100): never two at once; options in ARGS, such as ARGS="--seed 7 --kind frozen"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/reliability/fencing.py --rounds $(ROUNDS) $(ARGS)

faults: $(VENV)/.dev ## Inject every fault of the fault table into a real daemon (root; 20 min); options in ARGS, such as ARGS="--only disk,clock"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/reliability/faults/main.py $(ARGS)

backup-drill: $(VENV)/.dev ## Back up a house of GB gigabytes (1), lose it at random moments, restore it; such as GB=0.1 ARGS="--rounds 5 --seed 7"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/reliability/backup_drill.py --gigabytes $(or $(GB),1) $(ARGS)

screens: $(VENV)/.dev ## Take the screenshots of docs/screens/ anew, in both themes and two widths
	@scripts/test_packages.sh chromium chromedriver
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/integration/browser_screens.py

browser-hour: $(VENV)/.dev ## Keep browsers on two pages for SECONDS (3600) and see that they do not grow; ARGS="--compressed" passes an hour's updates
	@scripts/test_packages.sh chromium chromedriver
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/integration/browser_hour.py $(SECONDS) $(ARGS)

charts: ## Install the locked chart package (uPlot) by npm, as the first `make run` does; without it the server draws the charts
	@scripts/chart_package.sh

bench-surface: $(VENV)/.dev ## Measure what the surface costs the loop, with and without load in turns (4 min); options in ARGS, such as ARGS="--quick"
	@$(BIN)/python scripts/surface/load.py $(ARGS)

api-contract: $(VENV)/.dev ## Hold the OpenAPI document against a running daemon: over 1,000 cases; options in ARGS, such as ARGS="--seed 7"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/surface/contract.py $(ARGS)

api-reference: $(VENV)/.dev ## Write docs/API_REFERENCE.md out of the table of endpoints
	@$(BIN)/python scripts/surface/reference.py

systemd-lab: $(VENV)/.dev ## Prove the unit in a running systemd, upgrade and roll-back too (3 minutes; needs root and the packages it names)
	@bash scripts/systemd-lab/run.sh

clean: ## Remove what the commands above made; keeps data (var/) and logs
	rm -rf $(VENV) $(BENCH_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* arbitrage/web/screen/vendor/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "arbitrage needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv module is missing: install the package python3-venv"; exit 2; }

$(VENV)/.run: requirements/run.txt pyproject.toml arbitrage/web/screen/vendor/package-lock.json | $(BIN)/python
	@echo "installing what running needs into $(VENV) ..."
	@$(PIP) -r requirements/run.txt
	@$(PIP) --no-deps --editable .
	@$(BIN)/python -m compileall -q arbitrage # or every start compiles it where PYTHONDONTWRITEBYTECODE is set: over a second
	@$(BIN)/python -c 'from arbitrage.web.screen.render import compile_templates; compile_templates()'
	@scripts/chart_package.sh
	@touch $@

# Other people's clients pin older versions of what we run, so they are installed beside it without their own wishes (docs/adr/0009).
$(VENV)/.dev: requirements/dev.txt requirements/clients.txt $(VENV)/.run
	@echo "installing what the checks need into $(VENV) ..."
	@$(PIP) -r requirements/dev.txt
	@$(PIP) --no-deps -r requirements/clients.txt
	@touch $@

$(BENCH_VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "arbitrage needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(BENCH_VENV) || { echo "python's venv module is missing: install the package python3-venv"; exit 2; }

$(BENCH_VENV)/.bench: requirements/bench.txt pyproject.toml | $(BENCH_VENV)/bin/python
	@echo "installing what the benchmark needs into $(BENCH_VENV) ..."
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location -r requirements/bench.txt
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location --no-deps --editable .
	@touch $@
