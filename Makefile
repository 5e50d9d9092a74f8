# Everything a newcomer needs: Python 3.11 or newer and make.

# The one Airflow that demo, ui, tests and benchmarks run on, so that they do the same today and tomorrow.
AIRFLOW_VERSION ?= 3.3.2

VENV ?= .venv
# Set these to use an environment that already has everything.
PYTHON ?= $(VENV)/bin/python
STAMP ?= $(VENV)/.installed-$(AIRFLOW_VERSION)
TOOLS ?= $(VENV)/.installed-tools

.DEFAULT_GOAL := help
.PHONY: help venv demo ui test test-kill test-versions test-distributed test-packaging test-browser test-robustness soak kill-table lint docs bench mutants clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP)  ## create .venv with Airflow, this provider and the development tools

$(STAMP): pyproject.toml dev/make_venv.sh
	@AIRFLOW_VERSION=$(AIRFLOW_VERSION) sh dev/make_venv.sh $(VENV)
	@touch $@

$(TOOLS): $(STAMP)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --group distributed --group packaging
	@touch $@

demo: $(STAMP)  ## make a video through a real local Airflow: no account needed, GROKVIDEO_API_KEY uses the real API
	@$(PYTHON) -m dev.demo

ui: $(STAMP)  ## start a local Airflow with all example DAGs to click through; Ctrl-C stops it
	@$(PYTHON) -m dev.ui

# Much of the end-to-end tests is waiting, and one worker has all of them, since they share a running Airflow. The other
# workers have the rest meanwhile.
WORKERS ?= 3

test: $(STAMP)  ## run the unit, integration, documentation and end-to-end tests
	$(PYTHON) -m pytest tests/e2e tests/docs tests/integration tests/unit --ignore tests/e2e/test_kill.py \
	    --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

test-kill: $(STAMP)  ## kill workers and triggerers at every moment, and count what it costs
	$(PYTHON) -m pytest tests/e2e/test_kill.py $(PYTEST_ARGS)

test-versions: $(STAMP)  ## test the wheel in every version of Airflow that dev/constraints has a lock of
	$(PYTHON) -m dev.versions $(VERSIONS)

test-distributed: $(TOOLS)  ## kill triggerers and workers of an Airflow on PostgreSQL and Redis (Debian's packages)
	$(PYTHON) -m pytest tests/distributed -s $(PYTEST_ARGS)

test-robustness: $(TOOLS)  ## attack worker, triggerer and API server with hostile answers
	$(PYTHON) -m pytest tests/robustness $(PYTEST_ARGS)

test-packaging: $(TOOLS)  ## check what wheel and sdist hold, and run the quickstart from the wheel
	$(PYTHON) -m pytest tests/packaging $(PYTEST_ARGS)
	PYTHON_FOR_WHEEL=$(PYTHON) sh dev/try_wheel.sh $(AIRFLOW_VERSION)

soak: $(STAMP)  ## run the tutorial's DAG 100 times under airflow standalone (RUNS=20: 20 times); none may fail
	@$(PYTHON) -m dev.soak --runs $(or $(RUNS),100)

kill-table: $(STAMP)  ## kill workers and triggerers at every moment; what came of it goes to docs/kill-table.md
	@$(PYTHON) -m tests.e2e.kill_table

test-browser: $(STAMP)  ## run the tests that need Chromium; UPDATE_IMAGES=1 renews the screenshots of the docs
	$(PYTHON) -m pytest tests/browser $(PYTEST_ARGS)

lint: $(STAMP)  ## run ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs: $(STAMP)  ## build the documentation into site/, strictly
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs site
	@echo "open site/index.html"

bench: $(STAMP)  ## run the benchmarks, each beside its alternatives (about ten minutes)
	@$(PYTHON) -m uv pip install --quiet --python $(PYTHON) --group bench
	$(PYTHON) -m benchmarks $(BENCH_ARGS)

# mutmut imports what it mutates from its copy of the tree.
mutants: $(STAMP)  ## test the tests of the decision modules: change the code everywhere, and count what no test notices
	@$(PYTHON) -m uv pip install --quiet --python $(PYTHON) --group mutants
	PYTHONPATH=$(CURDIR) $(PYTHON) -m dev.mutants $(MUTANTS_ARGS)

clean:  ## remove what make has created
	rm -rf $(VENV) .venvs .demo .ui build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis mutants
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
